# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Trials of other settings: what is put in force, how it ends, and that every crash leads back to the plan."""

from __future__ import annotations

import contextlib
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.trial import leftover
from ansible_collections.tfserving.fleet.plugins.module_utils.trial.conduct import TrialError
from killed import run_until_killed
from trial_host import BATCHING, BINARY, OWNER, UNIT, arguments, call, is_back, trial

# More than any call of the module takes.
MOST_STEPS = 200


def test_a_trial_runs_with_its_own_arguments_and_files(host):
    result = call(host)
    assert (result["changed"], result["in_force"], result["owner"], result["runs"]) == (True, True, OWNER, "trial")
    assert host.state["running"] == [BINARY, *arguments(host, "--file_system_poll_wait_seconds=1")]
    assert result["command"] == host.state["running"]
    assert host.mark == f"trial-{result['digest']}"
    assert (host.root / "run/tfserving-trial/ranker/batching.config").read_text() == BATCHING
    assert result["waited_s"] == 0


def test_the_timer_counts_from_the_end_of_the_call_and_allows_for_the_start(host):
    call(host)
    armed = [word for deed in host.deeds for word in deed if word.startswith("--on-active=")]
    assert armed == ["--on-active=960s", "--on-active=900s"]
    assert [timer["seconds"] for timer in host.state["timers"].values()] == ["900s"]


def test_the_timer_alone_brings_the_plan_back(host):
    call(host)
    host.fire()
    assert is_back(host)
    assert host.files == []
    assert host.state["restarts"] == 3


def test_the_timers_command_has_nothing_that_systemd_could_misread(host):
    call(host)
    (timer,) = host.state["timers"].values()
    assert timer["command"] == ["/bin/sh", f"{host.root}/run/tfserving-trial/ranker.back"]


def test_an_ended_trial_leaves_nothing(host):
    call(host)
    result = call(host, state="absent")
    assert (result["changed"], result["in_force"], result["runs"], result["armed"]) == (True, False, "plan", False)
    assert is_back(host)
    assert host.files == []
    restarts = host.state["restarts"]
    assert call(host, state="absent")["changed"] is False
    assert host.state["restarts"] == restarts


def test_the_same_trial_again_restarts_nothing_and_is_postponed(host):
    call(host)
    restarts = host.state["restarts"]
    result = call(host, expires_s=1200)
    assert (result["changed"], host.state["restarts"]) == (False, restarts)
    assert [timer["seconds"] for timer in host.state["timers"].values()] == ["1200s"]


def test_the_next_trial_replaces_the_files_of_the_one_before(host):
    first = call(host)
    second = call(host, "--grpc_max_threads=9", files={"other.config": "x"})
    assert first["digest"] != second["digest"]
    assert host.mark == f"trial-{second['digest']}"
    assert [name for name in host.files if "trial/ranker/" in name] == ["run/tfserving-trial/ranker/other.config"]


def test_a_renewed_trial_only_ends_later(host):
    call(host)
    restarts = host.state["restarts"]
    result = call(host, state="renewed", expires_s=300)
    assert (result["changed"], host.state["restarts"]) == (False, restarts)
    assert [timer["seconds"] for timer in host.state["timers"].values()] == ["300s"]


def test_a_renewed_trial_tells_a_sample_of_its_server_and_the_host(host):
    assert "sample" not in call(host)
    pid = host.state["pid"]
    (host.root / f"proc/{pid}/stat").write_text(
        f"{pid} (a) S {' '.join(['0'] * 10)} 20 1 {' '.join(['0'] * 6)} 500 0\n"
    )
    (host.root / f"proc/{pid}/statm").write_text("9 256 1 1 0 1 0\n")
    (host.root / "proc/pressure").mkdir()
    (host.root / "proc/pressure/cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=12345\n")
    found = call(host, state="renewed", expires_s=300)["sample"]
    assert (found["pid"], found["started"], found["versions"]) == (pid, 500, {"m": [1]})
    assert found["own_us"] == 21 * (1_000_000 // os.sysconf("SC_CLK_TCK"))
    assert (found["host_psi_cpu_us"], found["steal_us"], found["mhz"]) == (12345, None, None)


def test_a_query_tells_what_runs_and_touches_nothing(host):
    found = call(host, state="queried")
    assert (found["in_force"], found["runs"], found["armed"], found["changed"]) == (False, "plan", False, False)
    call(host)
    found = call(host, state="queried", owner="")
    assert (found["in_force"], found["owner"], found["runs"], found["armed"]) == (True, OWNER, "trial", True)
    host.change(pid=0)
    assert call(host, state="queried")["runs"] == "nothing"


def test_check_mode_says_what_would_change_and_changes_nothing(host):
    assert call(host, check_mode=True)["changed"] is True
    assert call(host, check_mode=True, state="absent")["changed"] is False
    assert (host.files, host.state["restarts"]) == ([], 1)
    call(host)
    before = (host.files, host.state)
    assert call(host, check_mode=True)["changed"] is False
    assert call(host, check_mode=True, state="absent")["changed"] is True
    assert call(host, check_mode=True, state="renewed")["changed"] is False
    assert (host.files, host.state) == before


def test_a_server_in_a_root_of_its_own_sees_the_files(host):
    host.planned(unit={"RootDirectory": "/opt/x/rootfs"})
    call(host)
    assert f"BindReadOnlyPaths={host.root}/run/tfserving-trial/ranker\n" in host.drop_in.read_text()


def test_arguments_reach_the_server_as_they_are(host):
    call(host, "--flag=a b $HOME %n")
    assert host.drop_in.read_text().endswith(' --file_system_poll_wait_seconds=1 "--flag=a b $$HOME %%n"\n')


def test_a_server_that_does_not_come_up_is_replaced_by_the_plans_and_has_its_say(host):
    with pytest.raises(TrialError) as failed:
        call(host, "--broken")
    result = failed.value.result
    assert result["msg"] == (
        "The last lines of instance ranker:\nthe server's last words\n"
        "instance ranker: the unit is failed, exit status 1;"
        " the trial is ended, and the settings of the plan are back and serve"
    )
    assert (result["log"], result["in_force"], result["runs"]) == (["the server's last words"], False, "plan")
    assert is_back(host)


def test_a_plan_that_does_not_serve_afterwards_is_told(host, server):
    call(host)
    server.models["m"].versions[1] = "LOADING"
    with pytest.raises(TrialError) as failed:
        call(host, state="absent")
    assert failed.value.result["msg"].endswith(
        "instance ranker: model m version 1 is LOADING after 60 s, with the settings of its plan; run site.yml"
    )
    assert is_back(host)


def test_what_systemd_refuses_ends_the_trial(host):
    real, left = host.run, [1]

    def run(words):
        if words[:2] == ["systemctl", "restart"] and left:
            left.pop()
            return 1, "", "Job failed."
        return real(words)

    host.run = run
    with pytest.raises(TrialError) as failed:
        call(host)
    assert failed.value.result["msg"] == (
        "instance ranker: systemctl restart tfserving@ranker.service failed: Job failed.;"
        " the trial is ended, and the settings of the plan are back and serve"
    )
    assert is_back(host)


def test_a_server_that_somebody_stopped_during_a_trial_stays_stopped(host):
    call(host)
    host.change(pid=0, active="inactive")
    restarts = host.state["restarts"]
    host.fire()
    assert (host.state["restarts"], host.files) == (restarts, [])


def test_a_run_of_the_plan_ends_the_trial_before_it_looks_at_marks(host):
    call(host)
    assert leftover.clear(host.run, str(host.root / "run/systemd/system")) == [UNIT]
    assert (host.drop_in.exists(), host.state["loaded"]) == (False, "")
    assert host.mark.startswith("trial-")  # which differs from the unit's, so that the run restarts it
    host.fire()
    assert is_back(host)
    assert leftover.clear(host.run, str(host.root / "run/systemd/system")) == []


def crash(host, at, *more, **options):
    """Make the call die before its ``at``-th step; tell if it came so far."""
    trying = trial(host, *more, **options)

    def work():
        with contextlib.suppress(TrialError):
            trying.conduct()

    return run_until_killed(work, at, [(trying.units, "run"), (trying.back, "run")])


SITUATIONS = {
    "the first trial": ([], {}),
    "a further trial": ([{}], {"files": {"other": "y"}}),
    "a trial whose server does not start": ([{}], {"extra": ["--broken"]}),
    "the first trial, whose server does not start": ([], {"extra": ["--broken"]}),
    "the same trial again": ([{}], {}),
    "a renewal": ([{}], {"state": "renewed"}),
    "the end": ([{}], {"state": "absent"}),
}


def by_timer(host):
    host.fire()


def by_its_end(host):
    call(host, state="absent", owner="")


def by_another(host):
    assert call(host, files={"third": "z"})["runs"] == "trial"
    call(host, state="absent")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_crash_leads_back(host, situation):
    before, options = SITUATIONS[situation]
    options = dict(options)
    extra = options.pop("extra", [])
    start, record = host.state, (host.root / "etc/tfserving/plan.json").read_bytes()
    met = []
    for at in range(1, MOST_STEPS):
        host.change(**start)
        for earlier in before:
            call(host, **earlier)
        died = crash(host, at, *extra, **options)
        # Either the plan's settings are what runs and would run, or something is armed that sees to it.
        assert host.state["timers"] or is_back(host), at
        if died and host.snapshot in met:
            continue
        met.append(host.snapshot)
        kept = host.kept()
        for way in (by_timer, by_its_end, by_another):
            host.restore(kept)
            way(host)
            assert is_back(host), (at, way)
            assert (host.root / "etc/tfserving/plan.json").read_bytes() == record
        if not died:
            return
    pytest.fail("it never came to its end")
