# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples in step with the seconds, in bounded memory, of a host that may tell nothing."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import samples
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence.observe import observe
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence.poll import Poll
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from serving_double import Clock, FakeServer, Model

UNIT = "tfserving.slice/tfserving@ranker.service"
MARK = "0123456789ab-r1"


def stat(started, ticks):
    return f"7 (a b) c) S {' '.join(['0'] * 10)} {ticks} 1 {' '.join(['0'] * 6)} {started} 0\n"


@pytest.fixture
def place(tmp_path):
    """A host with a server as process 7 on CPUs 2 and 3, under cgroup v2."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write.root = tmp_path
    write.tree = Tree(str(tmp_path))
    write(**{
        "proc/7/stat": stat(500, 20), "proc/7/statm": "9999 25600 1 1 0 1 0\n", "proc/7/cgroup": f"0::/{UNIT}\n",
        "proc/7/status": "Cpus_allowed_list:\t2-3\n", "proc/7/cmdline": "server\0--port=1\0--flag=two words\0",
        "proc/7/environ": f"TFSERVING_CONFIGURATION={MARK}\0", "proc/mounts": "c /sys/fs/cgroup cgroup2 rw 0 0\n",
        "proc/sys/kernel/osrelease": "6.1.0-40-amd64\n", "proc/cpuinfo": "model name : Some CPU\ncpu MHz : 2000.0\n",
        f"sys/fs/cgroup/{UNIT}/cgroup.procs": "7\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    })  # fmt: skip
    return write


def entry(port=0, **more):
    return {
        "name": "ranker", "models": ["m"], "ports": {"grpc": 1, "rest": port}, "digest": MARK[:12], "gpus": [],
        "server": {"id": "tf@2.19.1"}, "flags": {"grpc_max_threads": 8}, "batching": None, "cpus": "2-3", **more,
    }  # fmt: skip


def sampler(place, pid=7):
    return samples.Sampler(place.tree, entry(), pid, polls={}, wall=lambda: 1000.0)


def test_a_sample_holds_what_the_files_say(place):
    place(**{"proc/stat": "cpu2 1 0 0 1 0 0 0 0\ncpu3 0 0 0 2 0 0 0 0\n"})
    found = sampler(place).take(0.0)
    assert {key: found[key] for key in ("at", "pid", "started", "rss_mb", "mhz")} == {
        "at": 1000.0, "pid": 7, "started": 500, "rss_mb": 25600 * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "mhz": [2000, 2000, 2000],
    }  # fmt: skip
    assert (found["busy_us"] * 4, found["own_us"]) == (found["total_us"], 21 * found["busy_us"])


def test_a_host_that_tells_nothing_is_sampled_without_an_error(tmp_path):
    found = samples.Sampler(Tree(str(tmp_path)), entry(), 0, polls={}).take(0.0)
    assert {key for key, value in found.items() if value is not None} == {"at"}


def test_clocks_are_read_every_fifth_second_only(place):
    taking = sampler(place)
    assert [now for now in range(12) if taking.take(float(now))["mhz"]] == [0, 5, 10]


def test_a_server_that_systemd_has_started_again_is_found_by_its_unit(place):
    taking = sampler(place)
    taking.take(0.0)
    (place.root / "proc/7/stat").unlink()
    (place.root / f"sys/fs/cgroup/{UNIT}/cgroup.procs").write_text("")
    assert taking.take(1.0)["pid"] is None
    place(**{"proc/9/stat": stat(800, 1), "proc/9/statm": "1 1\n", f"sys/fs/cgroup/{UNIT}/cgroup.procs": "9\n"})
    found = taking.take(2.0)
    assert (found["pid"], found["started"]) == (9, 800)


def test_versions_are_those_that_serve_and_none_without_an_answer():
    with FakeServer(m=Model({6: "END", 7: "AVAILABLE", 8: "LOADING"})) as server:
        assert samples.versions(entry(server.port)) == {"m": [7]}
    assert samples.versions(entry(server.port)) is None


def test_a_question_is_asked_once_a_period_and_its_answer_returned_once():
    asked = []
    poll = Poll(lambda: asked.append(1) or len(asked), 5.0, start=lambda work: work())
    assert [poll.taken(float(now)) for now in range(12)] == [None, 1, None, None, None, None, 2, *[None] * 4, 3]


def test_a_question_without_an_answer_yet_is_not_asked_again():
    started = []
    poll = Poll(lambda: "x", 5.0, start=started.append)
    assert [poll.taken(float(now)) for now in range(20)] == [None] * 20
    assert len(started) == 1
    started[0]()
    assert poll.taken(20.0) == "x"
    assert len(started) == 2


def test_one_that_fails_is_asked_again():
    def fail():
        raise OSError("no")

    def start(work):
        with pytest.raises(OSError, match="no"):
            work()

    poll = Poll(fail, 5.0, start)
    assert [poll.taken(float(now)) for now in (0, 5, 10)] == [None] * 3


def taken(seconds, stopped=lambda: False, clock=None):
    clock = clock or Clock()
    return samples.record(lambda now: {"at": now}, seconds, stopped, clock.now, clock.sleep)


def test_there_is_a_sample_at_both_ends():
    assert [sample["at"] for sample in taken(3)] == [0, 1, 2, 3]


def test_it_ends_when_it_is_told():
    answers = iter([False, False, True])
    assert len(taken(100, lambda: next(answers))) == 3


def test_samples_stay_in_step_where_taking_one_takes_time():
    clock = Clock()

    def take(now):
        clock.time += 0.3
        return {"at": now}

    found = samples.record(take, 4, lambda: False, clock.now, clock.sleep)
    assert [round(sample["at"], 6) for sample in found] == [0, 1, 2, 3, 4]


def test_a_host_that_slept_has_a_gap_and_no_burst():
    clock = Clock()

    def take(now):
        clock.time += 5.5 if now == 1 else 0
        return {"at": now}

    assert [sample["at"] for sample in samples.record(take, 9, lambda: False, clock.now, clock.sleep)] == [
        0,
        1,
        7,
        8,
        9,
    ]


def test_a_long_run_keeps_few_samples_and_every_answer():
    series = samples.Series(most=10)
    for at in range(100):
        series.add({"at": at, "versions": at if at % 7 == 0 else None})
        assert len(series.samples) <= 10
    assert [sample["at"] for sample in series.samples] == list(range(0, 100, series.step))
    assert series.step == 16
    assert all(sample["versions"] is not None for sample in series.samples)


def test_a_day_takes_little_memory():
    tracemalloc.start()
    series = samples.Series()
    for at in range(86400):
        series.add({"at": float(at), "busy_us": at * 1000, "versions": None})
    used, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(series.samples) <= samples.MOST_SAMPLES
    assert used < 4 << 20


def run(arguments):
    assert arguments[0] == "systemctl"
    return 0, f"UnitFileState=enabled\nActiveState=active\nMainPID=7\nEnvironment=TFSERVING_CONFIGURATION={MARK}\n", ""


@pytest.fixture
def see(place):
    """Call what the module calls."""

    def call(**options):
        place(**{"plan.json": json.dumps({"schema": 1, "server": {"version": "2.19.1"}, "instances": [see_entry[0]]})})
        defaults = {"instance": "ranker", "seconds": 0, "memory": False, "stop_file": None, "lock": None}
        defaults["record"] = str(place.root / "plan.json")
        recorder = options.pop("recorder", None)
        more = {"recorder": recorder} if recorder else {}
        return observe({**defaults, **options}, run, place.tree, **more)

    see_entry = [entry()]
    call.entry = see_entry
    return call


def test_without_seconds_there_are_the_conditions_alone(see):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        see.entry[0] = entry(server.port)
        found = see()
    assert found == {
        "samples": [],
        "conditions": {
            "plan_digest": MARK[:12], "server_version": "2.19.1", "server_id": "tf@2.19.1",
            "model_versions": {"m": [7]}, "cpu": "Some CPU", "cpus": "2-3", "governor": None, "mhz": [2000] * 3,
            "clocksource": "tsc", "kernel": "6.1.0-40-amd64", "boost": None,
            "settings": {"flags": {"grpc_max_threads": 8}, "batching": None},
        },
    }  # fmt: skip


def test_a_process_with_other_settings_is_told_by_its_mark_and_its_flags(see, place):
    place(**{"proc/7/environ": "TFSERVING_CONFIGURATION=trial-0123456789ab\0"})
    found = see()["conditions"]
    assert found["plan_digest"] == "trial-0123456789ab"
    assert found["settings"]["flags"] == {"port": "1", "flag": "two words"}


def test_the_stop_file_is_there_while_samples_are_taken(see, place):
    stop = place.root / "stop"

    def recorder(_take, seconds, stopped):
        assert (seconds, stop.exists(), stopped()) == (60, True, False)
        stop.unlink()
        assert stopped()
        return [{"at": 1}]

    assert see(seconds=60, stop_file=str(stop), recorder=recorder)["samples"] == [{"at": 1}]
    see(seconds=60, stop_file=str(stop), recorder=lambda *_arguments: [])
    assert not stop.exists()


def locked_by(place, run):
    return run_lock.take(str(place.root / "lock"), {"run": run}, "", write=True)


@pytest.mark.parametrize("end", ["released", "lapsed", "taken by another run"])
def test_the_samples_end_with_the_run_that_holds_the_lock(see, place, end):
    folder = place.root / "lock"
    assert locked_by(place, "one") == {}

    def recorder(_take, _seconds, stopped):
        assert not stopped()
        if end == "released":
            (folder / run_lock.LOCK).unlink()
        elif end == "lapsed":
            os.utime(folder / run_lock.LOCK, (1, 1))
        else:
            assert run_lock.take(str(folder), {"run": "two"}, "one", write=True) == {}
        assert stopped()
        return []

    stop = place.root / "stop"
    see(seconds=60, lock=str(folder), stop_file=str(stop), recorder=recorder)
    assert not stop.exists()


def test_a_renewed_lock_ends_no_samples(see, place):
    folder = place.root / "lock"
    locked_by(place, "one")

    def recorder(_take, _seconds, stopped):
        locked_by(place, "one")
        assert not stopped()
        return []

    see(seconds=60, lock=str(folder), recorder=recorder)


@pytest.mark.parametrize("lock", ["none", "a directory"])
def test_without_a_lock_the_run_has_ended_already(see, place, lock):
    (place.root / "a directory" / run_lock.LOCK).mkdir(parents=True)

    def recorder(_take, _seconds, stopped):
        assert stopped()
        return []

    see(seconds=60, lock=str(place.root / lock), recorder=recorder)


def refusal(see, **options):
    with pytest.raises(WishError) as refused:
        see(**options)
    return str(refused.value)


def test_refusals(see, place):
    assert refusal(see, instance="rankr") == ("instance: rankr is not in the plan of this host; did you mean 'ranker'?")
    for seconds in (-1, 86401):
        assert refusal(see, seconds=seconds) == (
            f"seconds: {seconds} is out of bounds; write 0 for the conditions alone, or at most 86400"
        )
    stop = place.root / "stop"
    stop.write_text("")
    assert refusal(see, seconds=1, stop_file=str(stop)) == (
        f"{stop}: exists, so that somebody samples already, or was killed; remove it, or name another stop_file"
    )
    assert refusal(see, seconds=1, stop_file=f"{place.root}/none/stop") == (
        f"{place.root}/none/stop: cannot be made (No such file or directory); name a stop_file in a directory like /run"
    )
