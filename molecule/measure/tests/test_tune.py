# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tuning of a serving host, in short form: it tries settings, and leaves the host as it was, however it ends.

The machine is busy with other tests, so what a tuning finds here is worth nothing; that it finds its way back is.
"""

from __future__ import annotations

import json

import pytest
import yaml
from browser import opened

FILES = "find /etc -xdev -type f -exec sha256sum {} + | sort"
# Two sizes of a call take half of this objective, so the curve is known after two points.
SHORT = {"instance": "main", "budget": "260s", "stage": "1s", "trials": 2, "warmup": "1s", "connections": 2, "slo": 4}


@pytest.fixture
def tune(site, tmp_path):
    return lambda *options, **variables: site(
        *options, playbook="playbooks/tune.yml", output=str(tmp_path / "tuned/main"), **{**SHORT, **variables}
    )


def test_settings_are_tried_and_the_host_is_as_it_was(tune, host, main, tmp_path):
    files, command = host.check_output(FILES), main.command_line()
    run = tune()
    assert run.status == 0, run.output
    document = json.loads((tmp_path / "tuned/main.json").read_text())
    assert document["kind"] == "tune"
    assert document["restored"] is True
    assert len(document["service_time"]["points"]) >= 2
    assert document["trials"]
    assert document["choice"]["reasons"]
    inventory = tmp_path / "tuned/main.yml"
    if inventory.exists():
        assert list(yaml.safe_load(inventory.read_text())) == ["tfserving_tuned"]
    assert opened(tmp_path / "tuned/main.html", tmp_path / "page.png") == []
    assert not (tmp_path / "tuned/main.journal").exists()
    assert host.check_output(FILES) == files
    assert main.command_line() == command
    assert host.run("ls /run/tfserving-trial /run/systemd/system/tfserving@main.service.d").rc != 0
    assert host.check_output("systemctl list-timers --all --no-legend 'tfserving-trial-*'") == ""


@pytest.mark.long
def test_a_killed_run_is_undone_by_the_next_one_which_goes_on(tune, site, host, main, tmp_path):
    command = main.command_line()
    killed = tune(kill_at="trial 2 (")
    assert killed.status != 0
    assert host.check_output("systemctl list-timers --all --no-legend 'tfserving-trial-*'") != ""
    told = (tmp_path / "tuned/main.journal").read_text().splitlines()
    assert len([line for line in told if '"trial"' in line]) >= 1
    run = tune()
    assert run.status == 0, run.output
    assert "of an earlier run count" in run.output
    assert main.command_line() == command
    assert host.check_output("systemctl list-timers --all --no-legend 'tfserving-trial-*'") == ""


@pytest.mark.long
def test_site_ends_what_a_killed_run_left(tune, site, host, main):
    command = main.command_line()
    assert tune(kill_at="trial 1 (").status != 0
    run = site()
    assert run.status == 0, run.output
    assert main.command_line() == command
    assert host.run("ls /run/systemd/system/tfserving@main.service.d/90-trial.conf").rc != 0


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"budget": "40s"}, "budget: is 40 s, too short to compare the plan with one other setting; give at least"),
        ({"search": "random"}, "search: is the string 'random'; use one of: standard, optuna"),
        (
            {
                "tfserving_instances": [
                    {"name": "main", "models": ["digits"], "flags": {"rest_api_timeout_in_ms": 9000}}
                ]
            },
            "inventory: asks for other settings of main than those in force",
        ),
    ],
)
def test_a_mistake_is_refused_before_anything_is_tried(tune, host, main, variables, sentence):
    pid = main.pid
    run = tune(**variables)
    assert run.status != 0
    assert sentence in run.message
    assert main.pid == pid
