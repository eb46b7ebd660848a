# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The throughput within the objective, with the plan's settings and with default ones, by the collection's benchmark.

Both are reference servers with the real TensorFlow runtime on the same single CPU of this machine, one after the other
in turns; the load generator has the other CPUs. Each knee is bracketed as a trial of the tuner is.
"""

from __future__ import annotations

import sys
from typing import Any

from support import figures, knees, local_load
from support.local_load import part

TARGET = 2.1  # of dense, planned / default; published cases reach 2.06
# Pairs of knees of each model, in turns. The figure with a target should not hang on one or two of them.
PAIRS = {"dense": 4, "sequence": 2, "simulated_device": 2, "wide_ranker": 2}
SIDES = {"a": "default", "b": "planned"}
# Seconds of a stage: first to find roughly where the knee is, then in turns, where p99 takes some thousand requests.
ROUGH_S, STAGE_S = 5.0, 15.0
WARMUP_S = 1
# A search begins at this share of what one request after another would make: every server here carries that.
BEGIN = 0.4
TAKES = "14 minutes for dense, 11 for each other model"


def main() -> int:
    parser = local_load.arguments(__doc__)
    parser.add_argument("--protocol", choices=("rest", "grpc"), default="rest")
    options = parser.parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes(TAKES), flush=True)
    print(settings(), flush=True)
    found = {}
    with local_load.team() as team:
        for model in options.model or PAIRS:
            found[model] = Compared(team, model, options.protocol).run()
    print(report(options.protocol, found))
    return 0


class Compared:
    """The two sides of a model, each with the knees of its turns (tuning.trial.Measured or Failed)."""

    def __init__(self, team: Any, model: str, protocol: str) -> None:
        self.turns: dict[str, list[Any]] = {side: [] for side in SIDES.values()}
        self.invalid: list[str] = []
        self._team, self._model = team, model
        self._asked = local_load.asked(model, protocol=protocol, warmup=WARMUP_S)

    def run(self) -> Compared:
        order = part("plugin_utils.measure.interleave").order(PAIRS[self._model], seed=1)
        starts = {side: self._knee(side, None) for side in SIDES.values()}
        for side in (SIDES[each] for each in order):
            self.turns[side].append(self._knee(side, getattr(starts[side], "rate", None)))
        return self

    def _knee(self, side: str, start: float | None) -> Any:
        """The knee of a server that is started for it, from a rate nearby on, or roughly from far below."""
        local_load.tell(f"{self._model}, {side} settings, {'a turn' if start else 'roughly'}")
        plan = local_load.context(self._model).planned() if side == "planned" else None
        with local_load.serving(self._model, plan) as server:
            load = local_load.load(self._asked, local_load.target(self._model, server), self._team)
            if start:
                return knees.find(load, side, start, STAGE_S, told=self.invalid)
            return knees.find(load, side, BEGIN / load.first_latency_s(), ROUGH_S, "explore")


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


def report(protocol: str, found: dict[str, Compared]) -> str:
    title = (
        f"Knees by {protocol} in requests/s: the mean of the turns (the lowest rate that passed - the highest that "
        f"failed in any), p99 within {local_load.SLO_MS:g} ms, stages of {STAGE_S:g} s"
    )
    header = ("model", *SIDES.values(), "turns of each", "planned / default", "of each pair", "target")
    table = figures.table(title, header, [_row(*each) for each in found.items()])
    return "\n".join([table, *(note for each in found.items() for note in _notes(*each))])


def _row(model: str, found: Compared) -> tuple[Any, ...]:
    default, planned = (found.turns[side] for side in SIDES.values())
    cells = (model, knees.shown(default), knees.shown(planned), len(planned))
    ratio, has_target = knees.ratio(planned, default), model == "dense"
    if ratio is None:
        return (*cells, "no ratio", "", f"at least {TARGET}: not measured" if has_target else "")
    pairs = figures.paired([each.rate for each in planned], [each.rate for each in default])
    value, low, high = ratio
    verdict = figures.verdict(value, at_least=TARGET) if has_target else ""
    return (*cells, f"{value:.2f} ({low:.2f} - {high:.2f})", figures.compared(pairs), verdict)


def _notes(model: str, found: Compared) -> list[str]:
    """What speaks against the figures."""
    count = len(found.invalid)
    return [f"{model}: INVALID: {count} stages were repeated, the first because {found.invalid[0]}"] if count else []


if __name__ == "__main__":
    sys.exit(main())
