# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""After the search: into how many shards callers had best cut a large request, by the settings that are in force.

How callers cut their requests is no setting of the server, so no trial varies it; what a cut wins depends on the
settings, since their threads run the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..benchmark import sharding, target, wording
from ..benchmark.bodies import Request
from ..benchmark.document import Cuts, ShardRow, TrialSettings
from ..benchmark.load import Judged, Load
from ..benchmark.progress_line import duration
from ..measure import shards
from .host_watch import HostWatch
from .service_time import shown
from .space import Context, Setting
from .trial import Failed

Of = Literal["plan", "chosen"]


def wanted(chosen: Setting | None, planned: Setting) -> list[tuple[Of, Setting]]:
    """Return the settings to measure with, the more important first: time is kept for one of them alone."""
    if chosen in (None, planned):
        return [("plan", planned)]
    return [("chosen", cast("Setting", chosen)), ("plan", planned)]


class Cutting:
    """Measures a request whole and in shards with any setting.

    :param put: puts a setting in force.
    :param watch: judges stages by the host, and says why a setting has to end at once.
    """

    def __init__(
        self,
        load: Load,
        context: Context,
        put: Callable[[Setting], Mapping[str, Any] | Failed],
        watch: HostWatch,
    ) -> None:
        self._load, self._context, self._put, self._watch = load, context, put, watch

    def measured(self, of: Of, setting: Setting) -> Cuts:
        """Return what each cut wins with a setting. What keeps it from being measured is the sentence."""
        self._load.tell(f"  measuring a request whole and in shards, with the {wording.settings_of(of)}")
        put = self._put(setting)
        if isinstance(put, Failed):
            return unmeasured(of, setting, put.why)
        load = replace(self._load, target={**self._load.target, **target.running(self._context.plan_of(setting))})
        invalid: list[str] = []
        try:
            self._refuse_memory()
            rows, capacity = sharding.Sharding(load, self._stage(load, invalid)).assessed()
        except WishError as error:
            return unmeasured(of, setting, str(error))
        best, sentence = advised(rows, load.slo_ms * 1000)
        return _cuts(of, setting, best, "; ".join([sentence, *invalid[:1]]), sharding.to_json(rows, capacity))

    def _stage(self, load: Load, invalid: list[str]) -> sharding.Stage:
        """Return what runs a stage, and adds a sentence where that was invalid."""

        def stage(
            name: str, rate: float, seconds: float, left_s: Callable[[], float], requests: Sequence[Request]
        ) -> Judged:
            self._refuse_memory()
            judged = self._watch.stage(lambda: load.stage(name, rate, seconds, left_s, requests))
            # The calls of a shard alone are too few to be judged.
            if judged.outcome.verdict == "invalid" and not name.endswith(sharding.ALONE):
                invalid.append(f"uncertain, since {name} was invalid: {judged.outcome.why}")
            return judged

        return stage

    def _refuse_memory(self) -> None:
        if too_much := self._watch.too_much_memory():
            raise WishError("", too_much, "")


def unmeasured(of: Of, setting: Setting, why: str) -> Cuts:
    """Return that nothing is known with a setting."""
    return _cuts(of, setting, None, f"not measured: {why}", [])


def out_of_time(of: Of, setting: Setting, left_s: float, needed_s: float) -> Cuts:
    """Return that the budget had no time for a setting."""
    why = f"{duration(max(0.0, left_s))} of the budget were left, and it may take {duration(needed_s)}"
    return unmeasured(of, setting, why)


def advised(rows: Sequence[shards.Sharding], slo_us: float) -> tuple[int, str]:
    """Return into how many shards to cut, 1 for none, and why.

    Of the cuts that keep the objective it is the fastest that pays. Where none keeps it, not even the whole request,
    the objective decides nothing.
    """
    able = [row for row in rows if row.p99_us is not None and row.p99_us <= slo_us] or rows
    best, fastest = shards.recommended(able), shards.recommended(rows)
    if best or not fastest:
        said = shards.conclusion(able if best else rows)
    else:
        said = f"leave requests whole: {fastest.shards} shards would be faster, but break the objective"
    row = best or next(each for each in rows if each.shards == 1)
    return row.shards, f"{said}; {_kept(row.p99_us, slo_us)}"


def _kept(p99_us: float | None, slo_us: float) -> str:
    if p99_us is None:
        return f"too few requests tell whether p99 keeps the objective of {shown(slo_us)}"
    return f"p99 is {shown(p99_us)}, {'within' if p99_us <= slo_us else 'over'} the objective of {shown(slo_us)}"


def _cuts(of: Of, setting: Setting, best: int | None, sentence: str, rows: Sequence[Mapping[str, Any]]) -> Cuts:
    return {
        "of": of,
        "settings": cast("TrialSettings", setting.to_json()),
        "best": best,
        "sentence": sentence,
        "rows": cast("list[ShardRow]", list(rows)),
    }
