# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark beside a neighbour takes for proof that its processes ran where it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.append(str(BENCH))
sys.path.insert(0, str(BENCH.parents[1] / "collections"))

import neighbour_vm  # noqa: E402
from support import guest, placement  # noqa: E402

PARTITION = {
    "cpus": "0-1",
    "housekeeping": "0",
    "slices": [
        {"name": "tfserving.slice", "cpus": "1"},
        {"name": "system.slice", "cpus": "0"},
        {"name": "machine.slice", "cpus": "0"},
    ],
}
CPUS = {"partitioned": ("1", "0"), "default": ("0-1", "0-1")}


def unit(slice_name, pids, allowed, cpu_s):
    return {"slice": slice_name, "pids": pids, "allowed": allowed, "cpu_s": cpu_s}


def reading(side, at, *, loops=2, busy_s=0.0):
    """What a guest in which all is as it should be says; machine.slice has no cgroup there."""
    serving, system = CPUS[side]
    units = {
        "bench-partitioned.service": unit("tfserving.slice", [10], [serving], 0.3 * at),
        "bench-default.service": unit("system.slice", [11], [system], 0.2 * at),
        "bench-neighbour.service": unit("system.slice", list(range(20, 21 + loops)), [system], busy_s),
    }
    if not loops:
        units["bench-neighbour.service"] = None
    slices = {"tfserving.slice": serving, "system.slice": system, "machine.slice": ""}
    return {"slices": slices, "units": units, "at": at}


def readings(side, **options):
    """Two of them, a minute apart, in which the neighbour used most of its CPUs."""
    busy_s = 55.0 if side == "partitioned" else 100.0
    return reading(side, 100.0, **options), reading(side, 160.0, busy_s=busy_s, **options)


@pytest.mark.parametrize("side", placement.SIDES)
@pytest.mark.parametrize("loops", [0, 2])
def test_a_block_in_which_the_kernel_shows_what_the_plan_says_is_proof(side, loops):
    assert placement.complaints(side, PARTITION, loops, *readings(side, loops=loops)) == []


def spoilt(side, change):
    before, after = readings(side)
    change(before, after)
    return placement.complaints(side, PARTITION, 2, before, after)


def test_slices_that_kept_the_cpus_of_the_other_side_are_named():
    def forget(_before, after):
        after["slices"]["system.slice"] = "0-1"

    assert spoilt("partitioned", forget) == ["system.slice has the CPUs 0-1, not 0"]


def test_a_thread_of_the_server_that_may_run_elsewhere_is_a_complaint():
    def stray(before, _after):
        before["units"]["bench-partitioned.service"]["allowed"] = ["0-1", "1"]

    assert spoilt("partitioned", stray) == ["threads of bench-partitioned.service may run on 0-1 and 1, not on 1"]


def test_a_server_in_the_wrong_slice_is_a_complaint():
    def moved(before, after):
        for each in (before, after):
            each["units"]["bench-default.service"]["slice"] = "tfserving.slice"

    assert spoilt("default", moved) == ["bench-default.service is in tfserving.slice, not in system.slice"]


def test_a_server_that_was_restarted_in_the_block_is_a_complaint():
    def restarted(_before, after):
        after["units"]["bench-default.service"]["pids"] = [12]

    assert spoilt("default", restarted) == ["the server has been restarted"]


def test_a_server_that_does_not_run_is_a_complaint():
    def gone(_before, after):
        after["units"]["bench-default.service"] = None

    assert spoilt("default", gone) == ["bench-default.service does not run"]


def test_loops_that_are_too_few_or_hardly_ran_are_no_neighbour():
    def ended(_before, after):
        after["units"]["bench-neighbour.service"]["pids"] = [20]

    def idle(_before, after):
        after["units"]["bench-neighbour.service"]["cpu_s"] = 6.0

    assert spoilt("default", ended) == ["the neighbour has 1 processes, not 2"]
    assert spoilt("default", idle) == ["the neighbour used 0.10 CPUs of 2, so it was none"]
    assert spoilt("partitioned", idle) == ["the neighbour used 0.10 CPUs of 1, so it was none"]


def test_a_neighbour_where_the_server_should_be_alone_is_a_complaint():
    before, after = readings("default")
    assert placement.complaints("default", PARTITION, 0, before, after) == ["there is a neighbour where none should be"]


def test_the_same_complaint_before_and_after_is_made_once():
    def forget(before, after):
        for each in (before, after):
            each["slices"]["tfserving.slice"] = "0-1"

    assert spoilt("partitioned", forget) == ["tfserving.slice has the CPUs 0-1, not 1"]


def test_the_use_of_a_cpu_is_taken_over_the_time_between_two_readings():
    before, after = readings("default")
    assert placement.cpu_share("bench-partitioned.service", before, after) == pytest.approx(0.3)


@pytest.mark.parametrize(("cpus", "number"), [("0", 1), ("0-1", 2), ("0-1,4", 3), ("", 0)])
def test_the_kernels_lists_of_cpus_are_counted(cpus, number):
    assert placement.number_of(cpus) == number


def test_the_agent_answers_each_line_and_says_what_it_could_not_do(tmp_path):
    orders = [
        {"do": "put", "path": str(tmp_path / "new" / "file"), "text": "content"},
        {"do": "run", "words": ["sh", "-c", "echo out; echo err >&2; exit 3"]},
        {"do": "steer", "mask": "1"},
        {"do": "evidence", "slices": ["no.slice"], "units": ["no.service"]},
    ]
    done = subprocess.run(
        [sys.executable, BENCH / "support" / "guest_agent.py"],
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        check=True,
    )
    put, run, steer, evidence = map(json.loads, done.stdout.splitlines())
    assert (tmp_path / "new" / "file").read_text() == "content"
    assert put == {"answer": None}
    assert run == {"answer": {"status": 3, "out": "out\n", "err": "err\n"}}
    assert steer["error"].startswith("TypeError: steer() missing 1 required positional argument: 'cpus'")
    assert evidence["answer"]["slices"] == {"no.slice": ""}
    assert evidence["answer"]["units"] == {"no.service": None}


def test_of_the_guests_cpus_the_one_that_waited_more_counts():
    before, after = guest.Waits([10.0, 10.0], [1.0, 1.0]), guest.Waits([40.0, 19.0], [1.0, 2.0])
    assert neighbour_vm.share_waited(before, after) == pytest.approx(0.1)


def test_a_guest_that_never_wanted_to_run_has_not_waited():
    same = guest.Waits([10.0, 10.0], [1.0, 1.0])
    assert neighbour_vm.share_waited(same, same) == 0.0


def block(verdict, waited):
    stage = SimpleNamespace(
        entry={"verdict": verdict, "why": "because"}, outcome=SimpleNamespace(verdict=verdict, why="because")
    )
    return neighbour_vm.Block(stage, server_cpu=0.3, waited=waited)


def test_a_block_whose_guest_waited_for_the_host_is_not_compared():
    assert block("fail", 0.1).entry == {"verdict": "fail", "why": "because"}
    spoilt = block("fail", 0.11)
    why = "a CPU of the guest waited for one of this machine for 11% of the time it wanted to run"
    assert spoilt.invalid == why
    assert spoilt.entry == {"verdict": "invalid", "why": why}


def test_a_block_that_the_benchmark_calls_invalid_stays_so():
    assert block("invalid", 0.0).invalid == "because"
    assert block("pass", 0.0).invalid == ""


def measured(side, p99_ms, *, waited=0.01, piled=0):
    """A block of 30 s with 16 requests a second, of which the slowest in each takes as long as the argument says."""
    histogram = neighbour_vm.part("module_utils.load.histogram").Histogram()
    for us in [20_000] * 15 + [round(p99_ms * 1000)]:
        histogram.record(us)
    whole = neighbour_vm.part("module_utils.load.histogram").Histogram()
    for _ in range(30):
        whole.add(histogram)
    row = {"offered": 16, "ok": 16, "histogram": histogram.to_json()}
    result = {
        "warmup_s": 3,
        "duration_s": 30,
        "seconds": [{**row, "t": second, "open": piled * second} for second in range(33)],
        "errors": {},
    }
    outcome = SimpleNamespace(verdict="fail", why="p99 is over the objective")
    entry = {"verdict": outcome.verdict, "why": outcome.why, "result": result}
    stage = SimpleNamespace(entry=entry, outcome=outcome, histogram=whole)
    return side, neighbour_vm.Block(stage, server_cpu=0.3, waited=waited)


def taken_in_turns(default, partitioned):
    return [block for _ in range(2) for block in (default, partitioned, partitioned, default)]


def test_a_neighbour_that_makes_p99_five_times_as_long_without_the_partition_meets_the_target():
    blocks = taken_in_turns(measured("default", 500), measured("partitioned", 100))
    said = neighbour_vm.compared(blocks)
    assert said.startswith("default / partitioned, 95 % interval: p99 ")
    assert float(said.partition("p99 ")[2].split()[0]) == pytest.approx(5, rel=0.01)
    assert said.endswith("target for p99 at least 4: met (met at the lower end of the interval)")
    assert neighbour_vm.doubts(blocks) == []
    default, partitioned = neighbour_vm.rows("beside 2 busy loops", blocks).splitlines()[-2:]
    assert default.split()[:2] == ["default", "20"]
    assert default.split()[-2:] == ["4", "0"]
    assert partitioned.split()[2] in ("99", "100", "101")


def test_three_times_as_long_misses_it_and_is_printed_all_the_same():
    said = neighbour_vm.compared(taken_in_turns(measured("default", 300), measured("partitioned", 100)))
    assert float(said.partition("p99 ")[2].split()[0]) == pytest.approx(3, rel=0.01)
    assert said.endswith("at least 4: missed (missed at the lower end of the interval)")


def test_blocks_of_a_busy_machine_are_left_out_and_too_few_others_give_no_ratio():
    busy = measured("partitioned", 100, waited=0.5)
    blocks = [*taken_in_turns(measured("default", 500), measured("partitioned", 100))[:6], busy, measured("default", 1)]
    assert neighbour_vm.compared(blocks).startswith("default / partitioned: not comparable: 3 of the 4 pairs")
    assert neighbour_vm.doubts(blocks)[0].startswith("INVALID: 1 of 8 blocks, the first one because a CPU of the guest")


def test_requests_that_pile_up_make_the_ratio_one_of_this_length_of_block():
    blocks = taken_in_turns(measured("default", 500, piled=5), measured("partitioned", 100))
    assert neighbour_vm.doubts(blocks) == [
        "remark: requests piled up in 4 of 4 blocks (default): longer blocks would give a higher p99"
    ]
