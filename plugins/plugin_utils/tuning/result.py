# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a search leaves: the document with its evidence, and the inventory file to review and commit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

from ..benchmark.document import Conditions, Cuts, Knee, Tune
from ..benchmark.document import Measured as MeasuredSettings
from ..benchmark.document import Trial as TrialRow
from ..wishes.instances import INSTANCES, TUNED
from . import host_watch, space
from .choice import Choice
from .history import Told
from .pick import Evidence
from .search import Search
from .service_time import per_second, shown
from .space import Context, Setting
from .trial import Failed, Measured

SCHEMA = 1
WIDTH = 120


def document(
    search: Search,
    choice: Choice,
    *,
    host: str,
    began: str,
    ended: str,
    conditions: Conditions,
    restored: bool,
    inventory: str | None,
    shards: list[Cuts] | None = None,
) -> Tune:
    """Return the tune document; docs/benchmark.md explains it."""
    site = search.site
    planned = site.planned.batches
    largest = max([planned.max_batch_size if planned else 1, *(point.items for point in site.curve.points)])
    told: list[TrialRow] = [_row(each) for each in search.history if each.trial.rung != "turns"]
    refused: list[TrialRow] = [
        _illegal(len(search.history) + number, setting, why)
        for number, (setting, why) in enumerate(search.seeds.refused, 1)
    ]
    return {
        "schema": SCHEMA,
        "kind": "tune",
        "instance": site.context.instance,
        "host": host,
        "began": began,
        "ended": ended,
        "slo_p99_ms": site.load.slo_us / 1000,
        "baseline": _measured(site.single, choice),
        "planned": _measured(site.planned, choice),
        "service_time": site.curve.to_json(largest),  # type: ignore[typeddict-item]
        "trials": [*told, *refused],
        "choice": choice.to_json(),  # type: ignore[typeddict-item]
        "restored": restored,
        "conditions": conditions,
        "remarks": [
            *search.remarks,
            *host_watch.remark(search.history),
            *predictions(search),
            *hidden(site.context, choice.setting),
        ],
        "inventory": inventory,
        "shards": shards,
    }


def _row(told: Told) -> TrialRow:
    trial, outcome = told.trial, told.outcome
    measured = outcome if isinstance(outcome, Measured) and outcome.rate > 0 else None
    stage = {"explore": "", "again": "baseline again: "}.get(trial.rung, f"{trial.rung} {trial.repeat}: ")
    why = outcome.why if isinstance(outcome, Failed) else trial.why
    is_illegal = isinstance(outcome, Failed) and outcome.outcome == "illegal"
    return {
        "number": trial.number,
        "settings": trial.setting.to_json(),  # type: ignore[typeddict-item]
        "origin": trial.origin,  # type: ignore[typeddict-item]
        "outcome": outcome.outcome if isinstance(outcome, Failed) else "measured",  # type: ignore[typeddict-item]
        "rate": measured.rate if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "p99_us": measured.p99_us if measured else None,
        "tried_by": None if is_illegal else outcome.tried_by,  # type: ignore[typeddict-item]
        "change_s": None if is_illegal else round(outcome.change_s, 2),
        "host": outcome.host,
        "why": f"{stage}{why}; physics expects {per_second(trial.predicted)}",
    }


def _illegal(number: int, setting: Setting, why: str) -> TrialRow:
    return {
        "number": number,
        "settings": setting.to_json(),  # type: ignore[typeddict-item]
        "origin": "physics",
        "outcome": "illegal",
        "rate": None,
        "low": None,
        "high": None,
        "p99_us": None,
        "tried_by": None,
        "change_s": None,
        "host": [],
        "why": why,
    }


def _measured(setting: Setting, choice: Choice) -> MeasuredSettings:
    found = next((each for each in choice.evidence if each.setting == setting), None)
    settings: Any = setting.to_json()
    return {"settings": settings, "knee": _knee(found) if found else None}


def _knee(found: Evidence) -> Knee:
    return {
        "rate": found.rate,
        "low": found.low,
        "high": found.high,
        "p99_us": found.p99_us,
        "confirmed": len(found.trials),
        "reason": f"{found.carries}, the mean of trials {', '.join(map(str, found.trials))}",
    }


def predictions(search: Search) -> list[str]:
    """Return how near the predicted knees of the first trials were, as a sentence."""
    pairs = [
        each.trial.predicted / each.rate
        for each in search.history
        if each.trial.rung == "explore" and each.trial.origin != "search" and each.rate and each.trial.predicted
    ]
    if not pairs:
        return []
    worst = max(pairs, key=lambda ratio: max(ratio, 1 / ratio))
    return [f"of {len(pairs)} predicted knees the farthest was {worst:.2f} times the measured one"]


def hidden(context: Context, setting: Setting | None) -> list[str]:
    """Return sentences about what the inventory sets itself, which would come before the setting."""
    asked = space.wish(setting) if setting else {}
    found = []
    for number, instance in enumerate(context.instances or ()):
        if not isinstance(instance, Mapping) or instance.get("name") != context.instance:
            continue
        for part, values in asked.items():
            for key in instance.get(part) or {}:
                own = instance[part][key]
                if key in values and str(own) != str(values[key]):
                    place = f"{INSTANCES}[{number}].{part}.{key}"
                    found.append(
                        f"{place} is set in the inventory and comes before {TUNED}; remove it to use {values[key]}"
                    )
                elif part == "batching" and own is False and key == "enabled" and setting and setting.batches:
                    place = f"{INSTANCES}[{number}].batching.enabled"
                    found.append(f"{place} is false in the inventory; remove it to form batches")
    return found


def inventory_text(search: Search, choice: Choice, host: str, day: str, tuned: Mapping[str, Any] | None) -> str | None:
    """Return the inventory file with the chosen setting, or None where the plan stays as it is.

    A variable of one file replaces that of another, so the file has all entries: those that are in force for other
    instances, and the new one.

    :param day: the date of the measurement, as in 2026-11-26.
    :param tuned: ``tfserving_tuned`` as it is.
    """
    if choice.setting is None or choice.verdict == "plan":
        return None
    context = search.site.context
    best = next(each for each in choice.evidence if each.setting == choice.setting)
    planned = next((each for each in choice.evidence if each.setting == search.site.planned), None)
    against = f" against {per_second(planned.rate)} as planned" if planned else ""
    within = f"p99 within {shown(search.site.load.slo_us)}"
    entry = {**space.wish(choice.setting), "measured": f"{day}: {per_second(best.rate)}{against}, {within}"}
    others = {name: kept for name, kept in (tuned or {}).items() if name != context.instance}
    told = [
        f"Found by measurement on {host}, {day}, instance {context.instance}. Review, and commit with the evidence.",
        *(f"- {reason}" for reason in choice.reasons),
        *(f"- Note: {note}" for note in (*hidden(context, choice.setting), *search.remarks)),
    ]
    lines = [line for each in told for line in textwrap.wrap(visible(each), WIDTH - 2, subsequent_indent="  ")]
    comment = "\n".join(f"# {line}" for line in lines)
    data = yaml.safe_dump({TUNED: {**others, context.instance: entry}}, sort_keys=False, width=WIDTH)
    return f"---\n{comment}\n{data}"
