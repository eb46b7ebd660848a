# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is measured in turns, and what comes of the blocks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import turns


def stage(us: int, **more: Any) -> dict[str, Any]:
    """Return a judged stage of 30 s with 100 requests a second, all answered after ``us``, after 5 s of warm-up."""
    histogram = Histogram()
    for step in range(100):
        histogram.record(us + step)
    second = {"offered": 100, "ok": 100, "errors": 0, "late": 0, "open": 0, "histogram": histogram.to_json()}
    result = {"warmup_s": 5, "duration_s": 30, "seconds": [{**second, "t": t} for t in range(36)]}
    return {"verdict": "pass", "why": "p99 keeps the objective", "result": result, **more}


INVALID = {"verdict": "invalid", "why": "a process used 90 % of a CPU"}


def measured(a: int, b: int, seconds: int = 120, **odd: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return all blocks, those of ``odd`` (``b2``: the second one of B) with something else in them."""
    found = turns.turns(seconds, 1)
    of = {"a": a, "b": b}
    return [(turn.side, stage(of[turn.side], **odd.get(f"{turn.side}{turn.number}", {}))) for turn in found]


def test_each_side_has_its_time_and_its_blocks_are_numbered():
    found = turns.turns(150, 1)
    assert [(turn.number, turn.seconds) for turn in found if turn.side == "a"] == [(n, 30) for n in range(1, 6)]
    assert [turn.number for turn in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert "".join(turn.side for turn in found[:4]) in ("abba", "baab")


def test_less_than_a_comparison_takes_is_no_turn():
    with pytest.raises(ValueError, match=r"^a comparison takes at least 120 s a side"):
        turns.turns(119, 1)


@pytest.mark.parametrize(("a", "b", "verdict"), [(900, 1000, "better"), (1100, 1000, "worse"), (7, 7, "no difference")])
def test_a_is_compared_with_b(a, b, verdict):
    found = turns.compared(measured(a, b), ("ranker", "other"))
    assert found.verdict == verdict
    assert found.p99.value == pytest.approx((a + 98.5) / (b + 98.5), rel=0.01)
    assert found.reason.startswith(f"p99 is {found.p99} times that of other: ")


def test_the_pair_of_an_invalid_block_is_left_out():
    # The block that is left out would have made A as slow as B.
    found = turns.compared(measured(900, 1000, 150, a2={**stage(1_000_000), **INVALID}))
    assert found == turns.compared(measured(900, 1000, 150)[:8])


def test_too_few_valid_pairs_are_not_compared():
    few = measured(900, 1000, b3=INVALID)
    assert turns.too_few(few) == (
        "3 of the 4 pairs of valid blocks that it takes were measured: a process used 90 % of a CPU"
    )
    found = turns.compared(few)
    assert (found.verdict, found.reason) == ("not comparable", turns.too_few(few))


def test_a_pair_is_measured_besides_for_one_that_is_invalid_and_twice_at_most():
    plan, found = turns.turns(120, 1), measured(900, 1000, b3=INVALID)
    assert turns.spare(plan, measured(900, 1000)) == []
    besides = turns.spare(plan, found)
    assert besides == [turns.Turn(found[-1][0], 5, 30), turns.Turn(found[-2][0], 5, 30)]
    bad = [(turn.side, stage(900, **INVALID)) for turn in besides]
    good = [(turn.side, stage(900)) for turn in besides]
    assert turns.spare(plan, found + good) == []
    assert [turn.number for turn in turns.spare(plan, found + bad)] == [6, 6]
    assert turns.spare(plan, found + bad + bad) == []
    assert turns.too_few(found + good) == ""


def test_an_interrupted_comparison_has_the_pairs_that_were_measured():
    assert turns.too_few(measured(1, 1)[:5]) == "2 of the 4 pairs of valid blocks that it takes were measured"
    assert turns.too_few(measured(1, 1)) == ""


def test_a_block_without_a_result_is_none():
    assert len(turns.pairs(measured(1, 1, a1={"result": None}))) == 3
