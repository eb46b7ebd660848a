# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bench of swaps makes of its blocks; servers are tried by running it."""

from __future__ import annotations

import sys
import threading
from itertools import cycle
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

import swaps
from support.local_load import part

SECONDS, EACH = 10, 50


def block(us, number=0, failed=0):
    """A block whose requests all took so many us."""
    histograms = part("module_utils.load.histogram").Histogram
    second, whole = histograms(), histograms()
    second.record(us, EACH)
    whole.record(us, EACH * SECONDS)
    row = {"offered": EACH, "ok": EACH, "errors": 0, "late": 0, "open": 0, "histogram": second.to_json()}
    rows = [{"t": place, **row} for place in range(SECONDS)]
    errors = {"timeout": failed} if failed else {}
    result = {"warmup_s": 0, "duration_s": SECONDS, "seconds": rows, "histogram": whole.to_json(), "errors": errors}
    return swaps.Block(result, number)


@pytest.mark.parametrize(("us", "said"), [(12_000, "p99 1.19"), (20_000, "p99 2.0")])
def test_blocks_with_swaps_are_compared_with_those_beside_them(us, said):
    shown = swaps.compared([block(10_000)] * 6, [block(us, 3)] * 6, "of a server")
    assert f"with / without, 95 % interval: {said}" in shown
    assert ("at most 1.5: met" in shown) == (us < 15_000)


def test_what_failed_and_how_many_swaps_there_were_stands_beside_the_latencies():
    shown = swaps.compared([block(10_000)] * 6, [block(10_000, 3, failed=2)] * 6, "of a server")
    row = next(line for line in shown.splitlines() if line.startswith("with swaps"))
    assert row.split()[2:] == ["10.0", "10.0", "3012", "12", "18"]


def test_too_few_blocks_are_shown_without_a_ratio():
    assert "a comparison takes at least" in swaps.compared([block(10_000)], [block(10_000, 1)], "of a server")


def test_swaps_go_on_with_the_other_version_in_the_next_block():
    enough = threading.Event()
    asked = []

    def swap(version):
        asked.append(version)
        if len(asked) % 3 == 0:
            enough.set()

    versions = cycle((2, 1))
    for _ in range(2):
        enough.clear()
        with swaps._swaps(swap, versions) as done:
            enough.wait()
        assert done == asked[-len(done) :]
    assert all(one != other for one, other in zip(asked, asked[1:]))
