# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What two readings of the measured host make of the stage between them."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Judged
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import knee, statistics
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import host_watch
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.history import Told
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed, Measured, outcome_from_json

# Two readings 18 s apart, with a stage of 10 s after a warm-up of 5 s between them, on four CPUs.
BEFORE = {
    "at": 1000.0, "cpu_throttled_us": 500, "psi_cpu_us": 700, "host_psi_cpu_us": 900, "busy_us": 10_000_000,
    "steal_us": 1_000_000, "total_us": 100_000_000, "own_us": 9_000_000, "pid": 7, "started": 500,
    "versions": {"ranker": [7]},
}  # fmt: skip
AFTER = {
    **BEFORE, "at": 1018.0, "busy_us": 46_000_000, "total_us": 172_000_000, "own_us": 45_000_000,
}  # fmt: skip
QUIET = {"throttled_us": 0, "psi_cpu_some_us": 0, "steal_share": 0.0, "foreign_cpu_share": 0.0}


def stage(verdict="pass"):
    entry = {"name": "trial 3", "rate": 800.0, "result": {"warmup_s": 5.0, "duration_s": 10.0}}
    return Judged(entry, knee.Outcome(verdict, "p99 is 20 ms", 20_000), statistics.Percentiles({}, {}))


def seen(before=BEFORE, **changes):
    return host_watch.judged(stage(), before, {**AFTER, **changes})


def test_a_quiet_host_leaves_a_stage_as_it_is():
    found, told = seen()
    assert found == stage()
    assert told == {"rate": 800.0, "figures": QUIET, "remarks": []}


REMARKED = {
    "a quota": (
        {"cpu_throttled_us": 300_500}, {"throttled_us": 300_000},
        "a CPU quota held the server up for 2.0% of the time",
    ),
    "waiting": (
        {"psi_cpu_us": 3_000_700}, {"psi_cpu_some_us": 3_000_000},
        "for 20% of the time threads of the server waited for a CPU",
    ),
    "steal": (
        {"steal_us": 4_600_000}, {"steal_share": 0.05}, "the hypervisor took 5.0% of the CPUs' time for others",
    ),
    "others": (
        {"own_us": 37_800_000}, {"foreign_cpu_share": 0.1},
        "other processes took 10.0% of the CPUs of the instance",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REMARKED)
def test_what_disturbs_is_remarked_on(name):
    changes, figures, text = REMARKED[name]
    found, told = seen(**changes)
    assert found == stage()
    assert told == {"rate": 800.0, "figures": {**QUIET, **figures}, "remarks": [text]}


SPOILT = {
    "steal": ({"steal_us": 9_640_000}, "the hypervisor took 12.0% of the CPUs' time for others"),
    "a restart": ({"pid": 8, "started": 900}, "the server was restarted during the measurement"),
    "a version": ({"versions": {"ranker": [8]}}, "other model versions were loaded during the measurement"),
}


@pytest.mark.parametrize("verdict", ["pass", "fail"])
@pytest.mark.parametrize("name", SPOILT)
def test_what_spoils_a_stage_makes_it_invalid(name, verdict):
    changes, text = SPOILT[name]
    found, told = host_watch.judged(stage(verdict), BEFORE, {**AFTER, **changes})
    assert (found.outcome.verdict, found.outcome.why, found.outcome.generator) == ("invalid", text, False)
    assert told["remarks"] == [text]


def test_an_overload_on_a_host_that_spoilt_the_stage_is_no_failure():
    changes, text = SPOILT["steal"]
    given = stage("invalid")
    given = dataclasses.replace(given, outcome=dataclasses.replace(given.outcome, generator=True, overloaded=True))
    found, _ = host_watch.judged(given, BEFORE, {**AFTER, **changes})
    assert (found.outcome.why, found.outcome.is_void) == (text, True)


def test_a_host_whose_clock_was_set_back_is_judged_all_the_same():
    assert seen(at=900.0, steal_us=9_640_000)[0].outcome.verdict == "invalid"


@pytest.mark.parametrize(
    "before",
    [None, {}, [1], {**BEFORE, "steal_us": "much"}, {**BEFORE, "pid": 7.5}, {**BEFORE, "own_us": 10**400}],
)
def test_what_is_no_sample_tells_nothing(before):
    found, told = seen(before, steal_us=90_640_000, pid=8)
    assert found == stage()
    assert told == {"rate": 800.0, "figures": dict.fromkeys(QUIET), "remarks": []}


def test_a_host_that_tells_little_spoils_nothing():
    silent = {name: value if name == "at" else None for name, value in BEFORE.items()}
    found, told = host_watch.judged(stage(), silent, {**silent, "at": 1018.0})
    assert found == stage()
    assert told["figures"] == dict.fromkeys(QUIET)


class Host:
    def __init__(self, *samples):
        self.samples, self.calls = list(samples), []

    def renew(self):
        self.calls.append("renew")
        return {"memory": {}, "sample": self.samples.pop(0)}

    def restore(self):
        self.calls.append("restore")


def watch(host, told=None):
    tell = told.append if told is not None else lambda _line: None
    return host_watch.HostWatch(host, {"high_mb": None, "max_mb": 0}, tell)


def hold(watching, host):
    return watching.stage(lambda: host.calls.append("stage") or stage())


def test_the_reading_after_a_stage_is_that_before_the_next_until_settings_change():
    host = Host(*[BEFORE] * 5)
    watching = watch(host)
    assert watching.too_much_memory() == ""
    hold(watching, host)
    assert watching.too_much_memory() == ""
    hold(watching, host)
    watching.settings_changed()
    hold(watching, host)
    assert host.calls == ["renew", "stage", "renew", "stage", "renew", "renew", "stage", "renew"]


def test_a_new_server_between_two_trials_spoils_none_of_them():
    other = {"pid": 8, "started": 900, "versions": {"ranker": [8]}}
    host = Host(BEFORE, AFTER, {**BEFORE, **other}, {**AFTER, **other})
    watching = watch(host)
    verdicts = [hold(watching, host).outcome.verdict]
    watching.settings_changed()
    verdicts.append(hold(watching, host).outcome.verdict)
    assert verdicts == ["pass", "pass"]
    assert [each["remarks"] for each in watching.taken()] == [[], []]
    assert watching.taken() == []


def test_a_spoilt_stage_is_told():
    told, host = [], Host(BEFORE, {**AFTER, "pid": 8})
    hold(watch(host, told), host)
    assert told == ["  trial 3: invalid, the server was restarted during the measurement"]


def test_the_result_says_how_many_stages_were_disturbed():
    quiet = {"rate": 1.0, "figures": QUIET, "remarks": []}
    loud = {**quiet, "remarks": ["it was loud", "and late"]}
    history = [
        Told(SimpleNamespace(number=number), Failed("failed", "", 1.0, host=host))
        for number, host in ((1, [quiet, quiet]), (2, [quiet, loud]), (3, [loud]))
    ]
    assert host_watch.remark(history) == ["the host disturbed 2 of 5 stages, the first of them in trial 2: it was loud"]
    assert host_watch.remark(history[:1]) == []


def test_the_journal_keeps_what_the_host_told():
    outcome = Measured(800.0, 780.0, 820.0, 20_000, 21_000, 60.0, host=[seen(steal_us=4_600_000)[1]])
    assert outcome_from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
