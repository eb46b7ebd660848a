# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Small requests beside one large one, which is sent whole or as shards at once: their p99, and the capacity it costs.

One reference server on one CPU with the plan of the profile for latency. Two load generators send side by side: small
requests of 4 items, and one of 700 items at a time, 1 x 700 or 7 x 100.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from support import figures, local_load
from support.local_load import part

MODEL = "wide_ranker"
ITEMS, SHARDS = 700, 7
# Requests a second. A large one takes some 40 ms of the server's CPU, so these keep it busy for a tenth of the time:
# each is done before the next one comes, and far more than a hundredth of the small ones meets it.
LARGE_RATE = 2.0
SMALL_RATE = 50.0
PAIRS, BLOCK_S = 4, 30  # what a comparison takes at the least (measure/interleave.py)
SIDES = {"a": 1, "b": SHARDS}
# The large requests begin before the small ones and end after them.
BESIDE_S = 4
TITLES = {0: "alone", 1: f"beside 1 x {ITEMS}", SHARDS: f"beside {SHARDS} x {ITEMS // SHARDS} at once"}


class Block(NamedTuple):
    """A stage of small requests (benchmark.load.Judged), and the one of large requests beside it."""

    small: Any
    large: Any | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=BLOCK_S, help="seconds of a block (default: %(default)s)")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes("11 minutes"), flush=True)
    plan = local_load.context(MODEL, profile="latency").planned()
    with (
        local_load.serving(MODEL, plan) as server,
        local_load.team() as team,
        local_load.team() as beside,
    ):
        where = {**local_load.target(MODEL, server), "batched": False}
        # Each generator would take the other one's requests, in the server's counts, for those of a stranger.
        uncounted = {**where, "metrics": None}
        small = local_load.load(local_load.asked(MODEL), uncounted, team)
        large = local_load.load(local_load.asked(MODEL, items=ITEMS, arrivals="constant"), uncounted, beside)
        print(capacity(where, beside), flush=True)
        print(neighbours(small, large, options.block))
    return 0


def capacity(where: dict[str, Any], team: Any) -> str:
    """The large request on an idle server, whole and in shards, as benchmark.yml reports it with shards=1,7."""
    sharding = part("plugin_utils.benchmark.sharding")
    load = local_load.load(local_load.asked(MODEL, items=ITEMS, shards=f"1,{SHARDS}"), where, team)
    stages = []

    def stage(*arguments: Any) -> Any:
        stages.append(load.stage(*arguments))
        return stages[-1]

    rows, advice = sharding.Sharding(load, stage).run()
    found = [
        (
            f"{row['shards']} x {row['items']}",
            f"{row['p50_us'] / 1000:.1f}",
            f"{row['p99_us'] / 1000:.1f}" if row["p99_us"] else "withheld",
            f"{row['latency_won']:.2f}",
            f"{row['capacity_items_per_s']:,.0f}",
            f"{row['capacity_lost']:.1%}",
        )
        for row in rows
    ]
    header = ("", "p50 ms", "p99 ms", "times as fast", "items/s that the CPU carries", "capacity lost")
    title = f"One request of {ITEMS} items on an idle server, whole and in shards sent at once"
    return "\n".join([figures.table(title, header, found), f"Advice: {advice}.", *invalid(stages)])


def neighbours(small: Any, large: Any, block_s: int) -> str:
    """Small requests alone, then beside whole and sharded requests in turns."""
    interleave = part("plugin_utils.measure.interleave")
    order = interleave.order(PAIRS, seed=1)
    blocks: dict[int, list[Block]] = {0: [Block(_stage(small, block_s), None)], 1: [], SHARDS: []}
    for side in order:
        blocks[SIDES[side]].append(beside(small, large, SIDES[side], block_s))
    blocks[0].append(Block(_stage(small, block_s), None))
    header = ("", "p50 ms", "p99 ms", "the large request, p50 ms", "blocks", "invalid")
    title = (
        f"{SMALL_RATE:g} small requests of {local_load.ITEMS[MODEL]} items a second, Poisson, by REST, beside "
        f"{LARGE_RATE:g} large ones a second; blocks of {block_s} s in the order A B B A"
    )
    rows = [_row(TITLES[shards], found) for shards, found in blocks.items()]
    stages = [each for found in blocks.values() for block in found for each in block if each]
    return "\n".join([figures.table(title, header, rows), "", compared(blocks), *invalid(stages)])


def beside(small: Any, large: Any, shards: int, block_s: int) -> Block:
    together = part("plugin_utils.benchmark.sharding").together(large.requests, ITEMS, shards)
    whole_s = float(block_s + BESIDE_S)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(large.stage, f"{shards} x", LARGE_RATE, whole_s, lambda: whole_s, together)
        found = _stage(small, block_s)
        return Block(found, other.result())


def compared(blocks: dict[int, list[Block]]) -> str:
    """What the benchmark's own comparison says of the small requests, sharded against whole."""
    seconds = part("plugin_utils.measure.series").seconds
    sides = [[seconds(block.small.entry["result"]) for block in blocks[shards]] for shards in (1, SHARDS)]
    found = part("plugin_utils.measure.comparison").compare(*sides, interleaved=True)
    if not found.p99:
        return f"p99 of small requests, sharded / whole: {found.verdict}: {found.reason}"
    return (
        f"small requests, sharded / whole, 95 % interval: p99 {found.p99}, p50 {found.p50}: {found.verdict}; a "
        f"change of p99 by {found.smallest_detectable:.0%} would have been found"
    )


def invalid(stages: list[Any]) -> list[str]:
    """What speaks against the figures, printed as they are."""
    why = [stage.outcome.why for stage in stages if stage.outcome.verdict == "invalid"]
    return [f"INVALID: {len(why)} of {len(stages)} stages, the first one because {why[0]}"] if why else []


def _stage(small: Any, block_s: int) -> Any:
    return small.stage("small", SMALL_RATE, float(block_s), lambda: float(block_s))


def _row(title: str, found: list[Block]) -> tuple[Any, ...]:
    histogram = part("module_utils.load.histogram").Histogram()
    for block in found:
        histogram.add(block.small.histogram)
    p99 = part("plugin_utils.measure.statistics").percentiles(histogram).found.get("p99")
    shown = f"{p99.us / 1000:.1f} ({p99.low / 1000:.1f} - {_high(p99.high)})" if p99 else "withheld"
    large = [block.large.histogram.quantile(0.5) / 1000 for block in found if block.large]
    bad = sum(block.small.outcome.verdict == "invalid" for block in found)
    beside_ms = f"{figures.median(large):.1f}" if large else ""
    return (title, f"{histogram.quantile(0.5) / 1000:.1f}", shown, beside_ms, len(found), bad)


def _high(us: int | None) -> str:
    return f"{us / 1000:.1f}" if us else "?"


if __name__ == "__main__":
    sys.exit(main())
