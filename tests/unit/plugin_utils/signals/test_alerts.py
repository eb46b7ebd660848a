# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every alert fires, stays silent just below its threshold and resolves, by the word of promtool itself."""

from __future__ import annotations

import subprocess

import alert_cases
import promtools
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import rules, table

CASES = alert_cases.cases()
ALERTS = table.alerts(alert_cases.OBJECTIVES)


def test_every_alert_has_its_cases_and_every_case_its_alert():
    assert sorted(CASES) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("name", CASES)
def test_a_case_shows_that_its_alert_fires_and_stays_silent_and_resolves(name):
    assert alert_cases.lacking(CASES[name]) == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"resolves": "1m"}, "resolves before it fires"),
        ({"series": {"up": "0x9"}}, "has no series whose timeline differs just below the threshold"),
        ({"series": {"up": ["0x9", "0x9"]}}, "has no series whose timeline differs just below the threshold"),
    ],
)
def test_a_case_without_one_of_the_three_is_refused(change, complaint):
    whole = {"labels": {}, "series": {"up": ["0x9", "1x9"]}, "fires": "1m", "resolves": "2m"}
    assert alert_cases.lacking(whole) == ""
    assert alert_cases.lacking({**whole, **change}) == complaint


def test_a_case_that_never_resolves_is_refused():
    assert "has the keys" in alert_cases.lacking({"labels": {}, "series": {}, "fires": "1m"})


@pytest.mark.parametrize("version", promtools.PACKAGES)
def test_alerts_fire_and_stay_silent_and_resolve(tmp_path, version):
    tests = alert_cases.write(tmp_path, CASES)
    done = subprocess.run(
        [promtools.program(version), "test", "rules", *map(str, tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]


def test_what_a_drained_instance_lacks_wakes_nobody(tmp_path):
    changed = {}
    for name, case in ((each, CASES[each]) for each in ("InstanceGone", "ModelNotAvailable")):
        # The fault in both timelines: what differs is the gate, which a person has closed in the second one.
        faulty = {key: values[0] if isinstance(values, list) else values for key, values in case["series"].items()}
        gate = {'tfserving_gate_info{$I,kind="person"}': ["_x200", "1x200"]}
        changed[name] = {**case, "series": {**faulty, **gate}}
    tests = alert_cases.write(tmp_path, changed)
    done = subprocess.run(
        [promtools.program(promtools.BOOKWORM), "test", "rules", *map(str, tests)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]


@pytest.mark.parametrize("version", promtools.PACKAGES)
def test_promtool_accepts_the_rules(tmp_path, version):
    made = rules.files(alert_cases.OBJECTIVES)
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [str(tmp_path / name) for name in made]
    done = subprocess.run(
        [promtools.program(version), "check", "rules", *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
