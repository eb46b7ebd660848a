# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The throughput within the objective, with the plan's settings and with default ones, by the collection's benchmark.

Both are reference servers with the real TensorFlow runtime on the same single CPU of this machine, one after the other
in turns; the load generator has the other CPUs. A knee is what benchmark.yml calls the knee of an instance.
"""

from __future__ import annotations

import sys
from statistics import mean
from typing import Any, NamedTuple

from support import figures, local_load
from support.local_load import part

TARGET = 2.1  # of dense, planned / default; published cases reach 2.06
# Pairs of searches of each model. Two pairs run as A B B A: the figure with a target should not hang on one search.
PAIRS = {"dense": 2, "sequence": 1, "simulated_device": 1, "wide_ranker": 1}
SIDES = {"a": "default", "b": "planned"}
# Three stages of a minute confirm a knee, and two more show that the next rate fails; finding it takes three minutes.
BUDGET_S = 480
# A search begins at this share of what one request after another would make: every server here carries that.
BEGIN = 0.4


class Found(NamedTuple):
    """What a search came to. `knee` (measure.knee.Knee) is None where no rate passed for a whole minute; `invalid` says
    why a stage did not count."""

    knee: Any | None
    reason: str
    invalid: list[str]


def main() -> int:
    parser = local_load.arguments(__doc__, BUDGET_S)
    parser.add_argument("--protocol", choices=("rest", "grpc"), default="rest")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(settings(), flush=True)
    rows, ratios, notes = [], [], []
    with local_load.team() as team:
        for model in options.model or PAIRS:
            found = compared(team, model, options.protocol, options.budget)
            rows += [_row(model, *each) for each in found]
            notes += [note for side, each in found for note in _notes(f"{model}, {side}", each)]
            ratios.append(_ratio(model, found))
    print("\n".join([report(options.protocol, rows, ratios), *notes]))
    return 0


def compared(team: Any, model: str, protocol: str, budget_s: int) -> list[tuple[str, Found]]:
    """Each search with its side, in the order in which they ran."""
    order = part("plugin_utils.measure.interleave").order(PAIRS[model], seed=1)
    return [(SIDES[side], searched(team, model, protocol, SIDES[side], budget_s)) for side in order]


def searched(team: Any, model: str, protocol: str, side: str, budget_s: int) -> Found:
    """Search the knee of a server that is started for it."""
    local_load.tell(f"{model} by {protocol}, {side} settings")
    plan = local_load.context(model).planned() if side == "planned" else None
    asked = local_load.asked(model, protocol=protocol, budget=budget_s)
    invalid = []
    with local_load.serving(model, plan) as server:
        load = local_load.load(asked, local_load.target(model, server), team)
        start = BEGIN / load.first_latency_s()
        search = part("plugin_utils.measure.knee").Search(start, asked.budget_s, asked.warmup_s)
        while (wanted := search.next()) is not None:
            judged = load.stage(wanted.name, wanted.rate, wanted.seconds, search.left_s)
            search.tell(wanted, judged.outcome)
            invalid += [judged.outcome.why] if judged.outcome.verdict == "invalid" else []
    return Found(search.knee(), search.reason, invalid)


def settings() -> str:
    """What both sides run with."""
    lines = [
        f"Both on CPU {local_load.server_cpu()}, the load generator on {sorted(local_load.client_cpus())}; objective: "
        f"p99 within {local_load.SLO_MS:g} ms, Poisson arrivals, requests made from the signature.",
        "default: port, REST port and model path. On one CPU these settings give 4 request threads for REST and 4 for "
        "gRPC, one of which holds no request, and no batches.",
    ]
    plan = local_load.context("dense").planned()
    threads = ", ".join(f"{pool} {count}" for pool, count in plan["threads"].items())
    batching = ", ".join(f"{name} {value}" for name, value in (plan["batching"] or {}).items())
    return "\n".join([*lines, f"planned: threads {threads}; batching {batching or 'off'}. Same allocator, same CPU."])


def ratio(upper: list[Found], lower: list[Found]) -> tuple[float, float, float | None] | None:
    """(value, low, high) of the mean knees, from the brackets of all searches.

    None where a side has no knee, or where no rate failed of the lower one: it may then be better than it looks. Where
    none failed of the upper one, the value is the least it can be, and there is no `high`.
    """
    above, below = ([each.knee for each in side if each.knee] for side in (upper, lower))
    if len(above) < len(upper) or len(below) < len(lower) or not all(each.high for each in below):
        return None
    value = mean(each.rate for each in above) / mean(each.rate for each in below)
    highest = [each.high for each in above]
    low = min(each.low for each in above) / max(each.high for each in below)
    return value, low, None if None in highest else max(highest) / min(each.low for each in below)


def report(protocol: str, rows: list[tuple[Any, ...]], ratios: list[tuple[Any, ...]]) -> str:
    knees = ("model", "settings", "requests/s (passed - failed)", "p99 ms", "confirmed", "invalid stages")
    title = (
        f"Knees by {protocol}, in the order of the searches: the highest rate that keeps the objective, and the next "
        "that does not"
    )
    ends = "Ratio of the mean knees, with the ends of the brackets: one side at its best, the other one at its worst"
    return "\n".join(
        [
            figures.table(title, knees, rows),
            figures.table(ends, ("model", "planned / default", "target"), ratios),
        ]
    )


def _row(model: str, side: str, found: Found) -> tuple[Any, ...]:
    knee, invalid = found.knee, len(found.invalid)
    if not knee:
        return (model, side, "none", "", "", invalid)
    p99 = f"{knee.p99_us / 1000:.1f}" if knee.p99_us else ""
    rate = f"{knee.rate:.0f} ({knee.low:.0f} - {_or_unknown(knee.high, '.0f')})"
    return (model, side, rate, p99, f"{knee.confirmed} times", invalid)


def _notes(what: str, found: Found) -> list[str]:
    """Why a search ended, and what speaks against it."""
    return [f"{what}: {found.reason}", *(f"{what}: INVALID: {why}" for why in found.invalid[:1])]


def _ratio(model: str, found: list[tuple[str, Found]]) -> tuple[Any, ...]:
    upper, lower = ([each for side, each in found if side == wanted] for wanted in ("planned", "default"))
    of_knees = ratio(upper, lower)
    has_target = model == "dense"
    if of_knees is None:
        return (model, "no ratio: a knee is not known", f"at least {TARGET}: not measured" if has_target else "")
    value, low, high = of_knees
    least = "" if high else "at least "
    verdict = figures.verdict(value, at_least=TARGET) if has_target else ""
    return (model, f"{least}{value:.2f} ({low:.2f} - {_or_unknown(high, '.2f')})", verdict)


def _or_unknown(value: float | None, form: str) -> str:
    return format(value, form) if value else "?"


if __name__ == "__main__":
    sys.exit(main())
