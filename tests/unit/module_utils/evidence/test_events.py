# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Events and figures from samples whose truth is known."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.evidence.events import events, figures

NOTHING = dict.fromkeys(
    (
        "cpu_throttled", "cpu_throttled_us", "psi_cpu_us", "psi_memory_us", "psi_io_us", "host_psi_cpu_us", "busy_us",
        "steal_us", "total_us", "own_us", "mhz", "rss_mb", "pid", "started", "versions", "gpu",
    )
)  # fmt: skip


def sample(at, **values):
    return {**NOTHING, "at": at, "pid": 7, "started": 100, **values}


def test_a_quiet_run_has_no_events():
    assert events([sample(at, versions={"m": [1]}, cpu_throttled_us=5) for at in range(5)]) == []
    assert events([]) == []


def test_a_reload_is_told_when_the_versions_change_between_two_answers():
    found = events([sample(0, versions={"m": [1]}), sample(1), sample(2, versions={"m": [1, 2]}), sample(3)])
    assert found == [{"at": 2, "kind": "reload", "text": "m serves 1, 2 after 1"}]
    (gone,) = events([sample(0, versions={"m": [1]}), sample(1, versions={"m": []})])
    assert gone["text"] == "m serves nothing after 1"


def test_names_of_models_cannot_break_a_line():
    (found,) = events([sample(0, versions={}), sample(1, versions={"m\n\x1b[31m" + "x" * 99: [1]})])
    assert "\n" not in found["text"]
    assert "\x1b" not in found["text"]
    assert len(found["text"]) < 100


def test_a_restart_is_told_by_the_process_or_by_its_start():
    gone = sample(1, pid=None, started=None)
    assert events([sample(0), gone, sample(2, pid=9, started=200)]) == [
        {"at": 2, "kind": "restart", "text": "process 9 after 7"}
    ]
    assert [event["kind"] for event in events([sample(0), sample(1, started=300)])] == ["restart"]


def test_a_stretch_of_throttling_is_one_event():
    counted = [0, 0, 20_000, 50_000, 50_000, 60_000]
    found = events([sample(at, cpu_throttled_us=value) for at, value in enumerate(counted)])
    assert found == [
        {"at": 1, "kind": "throttled", "text": "stopped by its CPU quota for 50 ms within 2 s"},
        {"at": 4, "kind": "throttled", "text": "stopped by its CPU quota for 10 ms within 1 s"},
    ]


def test_a_gpu_that_begins_to_be_held_back_is_told_once():
    def gpu(at, reasons):
        return sample(at, gpu=[{"index": 0, "reasons": reasons}])

    found = events([gpu(0, 0x1), gpu(10, 0x44), gpu(20, 0x44), sample(21), gpu(30, 0x1), gpu(40, 0x4), gpu(50, None)])
    assert [(event["at"], event["text"]) for event in found] == [
        (10, "GPU 0: power limit"),
        (10, "GPU 0: thermal slowdown by the hardware"),
        (40, "GPU 0: power limit"),
    ]


def test_events_are_in_order():
    found = events([sample(0, cpu_throttled_us=0), sample(1, pid=8), sample(2, pid=8, cpu_throttled_us=9)])
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)


def counting(at, **more):
    """A second in which the CPUs (two of them) worked for 1.2 s, 0.9 s of that for the server, and lost 0.1 s."""
    return sample(
        at, busy_us=1_200_000 * at, own_us=900_000 * at, steal_us=100_000 * at, total_us=2_000_000 * at,
        cpu_throttled_us=3_000 * at, psi_cpu_us=40_000 * at, host_psi_cpu_us=70_000 * at, **more,
    )  # fmt: skip


def test_figures_are_of_the_seconds_between_two_moments():
    samples = [counting(at) for at in range(20)]
    assert figures(samples, 5, 15) == {
        "throttled_us": 30_000,
        "psi_cpu_some_us": 400_000,
        "steal_share": 0.05,
        "foreign_cpu_share": 0.15,
    }


def test_without_pressure_of_the_slice_that_of_the_host_counts():
    samples = [counting(at) | {"psi_cpu_us": None} for at in range(5)]
    assert figures(samples, 1, 3)["psi_cpu_some_us"] == 140_000


def test_a_restart_does_not_make_the_servers_own_time_foreign():
    later = [
        counting(
            at,
        )
        | {"pid": 8, "own_us": 900_000 * (at - 5)}
        for at in range(5, 10)
    ]
    assert figures([*(counting(at) for at in range(5)), *later], 0, 9)["foreign_cpu_share"] == 0.15


def test_a_counter_that_began_anew_is_not_negative():
    assert figures([sample(0, cpu_throttled_us=900), sample(1, cpu_throttled_us=50)], 0, 1)["throttled_us"] == 50


def test_what_the_host_does_not_tell_is_none():
    unknown = {"throttled_us": None, "psi_cpu_some_us": None, "steal_share": None, "foreign_cpu_share": None}
    assert figures([sample(0), sample(1)], 0, 1) == unknown
    assert figures([], 0, 1) == unknown
