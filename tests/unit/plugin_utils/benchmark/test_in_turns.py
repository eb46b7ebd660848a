# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Two simulated instances in turns, of which it is known whether they differ."""

from __future__ import annotations

import copy
import json

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import (
    conduct,
    curves,
    document,
    markdown,
    other,
    page,
    table,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.course import Course
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.finish import finished
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Load
from simulated_team import Rivals, SimulatedTeam

MEAN_S = 0.002
GIVEN = {"against": "ranker-next", "rate": 100}


def server(slower=1.0, seed=1, **more):
    return SimulatedTeam(MEAN_S * slower, 0.0, exponential=True, seed=seed, **more)


def run(a=None, b=None, kept=None, told=None, of_b=None, **given):
    """Return the document of a run, before it is finished; B draws other times than A."""
    team = Rivals(a or server(), b or server(seed=2))
    asked, sent = simulated_team.asked(**{**GIVEN, **given}), simulated_team.requests()
    targets = simulated_team.target(), simulated_team.other(**(of_b or {}))
    found = conduct.begun(asked, targets[0], sent, team.names)
    found["other"] = conduct.begun_other(*targets)
    known = {"ranker": simulated_team.MODEL}
    bodies = [sent.bodies, other.requests(sent.bodies, *targets, known, known)]
    tell = (told if told is not None else []).append
    loads = [Load(asked, target, of_it, team, [4], tell) for target, of_it in zip(targets, bodies)]
    keep = (kept if kept is not None else []).append
    Course(loads[0], found, lambda so_far: keep(copy.deepcopy(so_far)), None, loads[1]).run()
    return found


KEPT: list = []
TOLD: list = []
SAME = run(kept=KEPT, told=TOLD)
SLOWER = run(a=server(1.1), rate=150, duration="300s")


def done(found, samples=(), of_other=()):
    whole = finished(copy.deepcopy(found), samples, None, "", False, of_other)
    assert document.read(json.dumps(whole)) == whole
    return whole


QUIET = [simulated_team.sample(at) for at in range(0, 300, 5)]
FOUND = done(SAME, QUIET, QUIET)
FOUND_SLOWER = done(SLOWER)


def test_both_sides_are_measured_in_turns_at_one_rate():
    names = [stage["name"] for stage in SAME["stages"]]
    assert sorted(names) == sorted(f"{side} {number}" for side in "AB" for number in range(1, 5))
    assert "".join(stage["side"] for stage in SAME["stages"][:4]) in ("ABBA", "BAAB")
    assert {stage["name"][0] == stage["side"] for stage in SAME["stages"]} == {True}
    assert {(stage["rate"], stage["result"]["duration_s"]) for stage in SAME["stages"]} == {(100.0, 30)}
    assert SAME["kind"] == "turns"


def test_the_blocks_of_a_side_go_to_its_server():
    a, b = server(), server()
    run(a=a, b=b)
    assert {spec["target"]["grpc"] for spec in a.specs} == {8500}
    assert {spec["target"]["grpc"] for spec in b.specs} == {8600}
    assert (len(a.specs), len(b.specs)) == (4, 4)


def test_the_document_is_kept_after_each_block_and_the_time_left_is_told():
    assert [len(kept["stages"]) for kept in KEPT] == list(range(1, 9))
    assert document.checked(KEPT[3], "document")["comparison"] is None
    left = [line for line in TOLD if " left" in line and "(35 of 35 s)" in line]
    # Eight blocks of 35 s; the line of the last second of each.
    assert left[0].endswith(", 4 min 05 s left")
    assert left[-1].endswith(", 0 s left")


def test_an_instance_does_not_differ_from_itself():
    assert FOUND["verdict"] == "valid"
    assert FOUND["comparison"]["verdict"] == "no difference"
    assert FOUND["comparison"]["p99_ratio"]["low"] < 1 < FOUND["comparison"]["p99_ratio"]["high"]


def test_ten_percent_more_are_found_with_their_side():
    found = FOUND_SLOWER["comparison"]
    assert found["verdict"] == "worse"
    assert 1.01 < found["p99_ratio"]["low"] < found["p99_ratio"]["value"] < 1.3
    assert found["reason"].startswith("p99 is ")
    assert " times that of ranker-next: the whole interval lies above" in found["reason"]


def test_nothing_is_remarked_of_the_length_of_a_block():
    assert not any(" s are less than 60 s" in remark for stage in SAME["stages"] for remark in stage["remarks"])


def test_each_side_has_its_figures():
    a, b = FOUND_SLOWER["turns"]
    assert (a["side"], a["instance"], a["host"], a["blocks"], a["duration_s"]) == ("A", "ranker", "gpu-a", 10, 300)
    assert (b["side"], b["instance"]) == ("B", "ranker-next")
    assert a["offered"] == pytest.approx(150 * 300, rel=0.05)
    assert (a["ok"], a["errors"]) == (a["offered"], 0)
    assert a["percentiles"]["p50"]["us"] > b["percentiles"]["p50"]["us"]


def test_what_differs_is_listed_and_forbids_nothing():
    found = FOUND["comparison"]
    assert (found["same_plan"], found["against"]) == (False, "ranker-next")
    assert found["differences"] == [
        f"the plan: {'e' * 48} for B, {'d' * 48} for A",
        "the CPUs of the instance: 6-9 for B, 2-5 for A",
    ]


def test_sides_on_two_hosts_are_named_with_them():
    found = done(run(of_b={"name": "gpu-b", "instance": "ranker"}))
    assert found["comparison"]["against"] == "ranker on gpu-b"
    assert [row["host"] for row in found["turns"]] == ["gpu-a", "gpu-b"]
    assert table.text(found).startswith("ranker on gpu-a does not differ from ranker on gpu-b: p99 times ")


def test_failures_of_a_side_are_compared():
    found = done(run(a=server(ok=lambda number: number % 150 > 0)))
    difference = found["comparison"]["errors_difference"]
    assert difference["low"] < 1 / 150 < difference["high"]
    assert difference["low"] > 0
    assert " of the requests failed" in table.text(found).splitlines()[1]


def test_an_invalid_block_is_left_out_with_its_neighbour():
    found = copy.deepcopy(SLOWER)
    bad = next(stage for stage in found["stages"] if stage["name"] == "B 3")
    bad.update(verdict="invalid", why="a process of the load generator used 90 % of a CPU")
    whole = done(found)
    assert (whole["verdict"], whole["comparison"]["verdict"]) == ("valid", "worse")
    assert whole["remarks"][0] == "invalid and left out with its neighbour: B 3; 9 pairs were compared"
    assert [row["blocks"] for row in whole["turns"]] == [10, 9]


class BusyOnce(SimulatedTeam):
    """A load host whose generator lacks CPU in its second block."""

    def run(self, specs, seconds, progress):
        found = super().run(specs, seconds, progress)
        return {**found, "cpu": [0.9]} if len(self.specs) == 2 else found


def test_a_pair_more_is_measured_for_an_invalid_block():
    found = run(a=BusyOnce(MEAN_S, 0.0, exponential=True))
    assert [stage["name"] for stage in found["stages"] if stage["verdict"] == "invalid"] == ["A 2"]
    assert sorted(stage["name"] for stage in found["stages"][8:]) == ["A 5", "B 5"]
    whole = done(found)
    assert (whole["verdict"], whole["comparison"]["verdict"]) == ("valid", "no difference")
    assert whole["remarks"][0] == "invalid and left out with its neighbour: A 2; 4 pairs were compared"


def test_with_too_few_valid_pairs_the_run_is_invalid():
    found = copy.deepcopy(SAME)
    for stage in found["stages"][:2]:
        stage.update(verdict="invalid", why="2 of 9 requests were sent late")
    whole = done(found)
    assert whole["verdict"] == "invalid"
    assert whole["comparison"]["reason"] == (
        "3 of the 4 pairs of valid blocks that it takes were measured: 2 of 9 requests were sent late"
    )


def test_an_interrupted_run_is_invalid_and_says_so():
    whole = done(KEPT[2])
    assert whole["verdict"] == "invalid"
    assert "1 of the 4 pairs of valid blocks that it takes were measured" in table.text(whole)
    assert done(dict(SAME, stages=[]))["verdict"] == "invalid"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"pid": 8, "started": 2}, "the server was restarted during the measurement"),
        ({"versions": {"ranker": [8]}}, "other model versions were loaded during the measurement"),
    ],
)
def test_what_changes_between_two_blocks_makes_the_run_invalid(changed, text):
    begin = SAME["stages"][4]["result"]["began"]
    samples = [{**each, **(changed if each["at"] >= begin else {})} for each in QUIET]
    for side, given in (("A", (samples, QUIET)), ("B", (QUIET, samples))):
        whole = done(SAME, *given)
        # Each block saw one of them only.
        assert "invalid" not in {stage["verdict"] for stage in whole["stages"]}
        assert (whole["verdict"], whole["comparison"]["verdict"]) == ("invalid", "not comparable")
        assert whole["comparison"]["reason"] == whole["remarks"][0] == f"{side}: {text}"
        assert [event["text"].startswith("B: ") for event in whole["events"]] == [side == "B"]


def test_a_change_before_the_first_block_is_none():
    samples = [simulated_team.sample(-20, pid=3, started=0), *QUIET]
    assert done(SAME, samples, samples)["verdict"] == "valid"


def test_each_side_has_the_samples_of_its_host():
    whole = done(SAME, QUIET[:3], QUIET)
    assert (len(whole["host_samples"]), len(whole["other"]["host_samples"])) == (3, 60)


def test_people_see_both_sides():
    text = table.text(FOUND_SLOWER)
    assert text.startswith("ranker is worse than ranker-next: p99 times 1.")
    assert "\n  A: ranker       gpu-a      10  " in text
    assert "\n  B: ranker-next  gpu-a      10  " in text
    assert "  ≠ the CPUs of the instance: 6-9 for B, 2-5 for A" in text
    noted = markdown.markdown(FOUND_SLOWER)
    assert "| A / B | ratio (95 % interval) |" in noted
    assert "| `A: ranker` | `gpu-a` | `10` |" in noted
    shown = page.page(FOUND_SLOWER)
    assert "<h2>A and B in turns</h2>" in shown
    assert "A / B with its 95 % interval" in shown
    assert "The two sides have different plans." in shown
    assert "before" not in shown.lower().split("<body>")[1].replace("before the run", "")
    assert [curve.name for curve in curves.drawn(FOUND_SLOWER)] == ["A: ranker", "B: ranker-next"]
