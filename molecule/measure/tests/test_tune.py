# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tuning of a serving host, in short form: it tries settings, and leaves the host as it was, however it ends.

The machine is busy with other tests, so what a tuning finds here is worth nothing; that it finds its way back is.
"""

from __future__ import annotations

import json
import signal
import subprocess

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
    assert host.check_output("systemctl list-timers --all --no-legend 'tfserving-trial.*'") == ""


@pytest.fixture
def trial(host, main):
    """What the host has of a trial."""

    class Trial:
        usual = main.command_line()

        @property
        def timers(self) -> list[str]:
            listed = host.check_output("systemctl list-timers --all --no-legend 'tfserving-trial.*'")
            return [word for word in listed.split() if word.endswith(".timer")]

        @property
        def in_force(self) -> bool:
            return host.file("/run/systemd/system/tfserving@main.service.d/90-trial.conf").exists

        def settle(self) -> None:
            """Wait for modules that run on, although nobody waits for them any more: Ansible's shells end in that."""
            host.check_output("timeout 60 sh -c %s", "while pgrep -f '[&]& sleep 0$' > /dev/null; do sleep 0.1; done")

        def is_over(self) -> bool:
            """Whether the host is as it was before."""
            return not self.timers and not self.in_force and main.command_line() == self.usual

    return Trial()


@pytest.fixture
def end_of_workers(tmp_path):
    """Wait until no process of this test's runs is left: the workers outlive an ansible-playbook that is killed."""

    def wait() -> None:
        gone = f"for _ in $(seq 600); do pgrep -f '[@]{tmp_path}' > /dev/null || exit 0; sleep 0.1; done; exit 1"
        assert subprocess.run(["sh", "-c", gone], check=False).returncode == 0

    return wait


@pytest.mark.long
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-C", "kill"])
def test_the_workers_of_an_interrupted_run_bring_the_plan_back(tune, trial, end_of_workers, kill):
    # In the middle of its stages.
    assert tune(kill_at="trial 1: ", kill=kill).status != 0
    end_of_workers()
    assert trial.is_over()


@pytest.mark.long
def test_a_run_that_was_killed_with_its_workers_is_undone_by_the_next_one_which_goes_on(tune, trial, tmp_path):
    assert tune(kill_at="trial 2 (", kill="everything").status != 0
    trial.settle()
    assert trial.in_force
    assert trial.timers
    told = (tmp_path / "tuned/main.journal").read_text().splitlines()
    assert len([line for line in told if '"trial"' in line]) == 1
    run = tune()
    assert run.status == 0, run.output
    assert "1 trial of an earlier run count" in run.message
    assert [each["number"] for each in json.loads((tmp_path / "tuned/main.json").read_text())["trials"]][:2] == [1, 2]
    assert trial.is_over()


@pytest.mark.long
def test_the_timer_brings_the_plan_back_without_anybody(tune, trial, host):
    assert tune(kill_at="trial 1: ", kill="everything").status != 0
    trial.settle()
    (timer,) = trial.timers
    # What the timer does, before its time.
    host.check_output("systemctl start --wait %s", timer.replace(".timer", ".service"))
    assert trial.is_over()


@pytest.mark.long
def test_site_ends_what_a_killed_run_left(tune, trial, site, main):
    assert tune(kill_at="trial 1: ", kill="everything").status != 0
    trial.settle()
    assert trial.in_force
    run = site()
    assert run.status == 0, run.output
    assert not trial.in_force
    assert main.command_line() == trial.usual


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
