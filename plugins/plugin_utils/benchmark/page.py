# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark or the result of tuning as one self-contained page, with its style and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data, visible_lines

from ..phrases import counted, joined
from ..report.page import TEMPLATES, renderer
from . import curves, forest, sizes, timeline, wording
from .chart import MARKERS
from .document import Calibrated, Conditions, Document, Requests, ShardRow, Tune, checked
from .figures import interval, ms, number, percent, rate, ratio, settings
from .markdown import ratio_rows
from .table import (
    NOT_RESTORED,
    SHARD_COLUMNS,
    TRIAL_COLUMNS,
    TURNS_COLUMNS,
    shard_cells,
    trial_cells,
    turns_cells,
)

# The percentiles of the table of distributions, as numbers of nines: p50, p90, p99, p99.9.
TAILS = (curves.FIRST_TAIL, 1, 2, 3)

Rows = Sequence[tuple[str, str]]


def page(data: object, before: object = None) -> str:
    """Return a document as HTML, ``before`` drawn beside it where there is one. Raises WishError.

    Every text from outside is escaped; the same documents give the same bytes.
    """
    document: Document | Tune = visible_data(checked(data, "document"))
    if document["kind"] == "tune":
        # Its line breaks are layout.
        inventory = visible_lines(cast("Tune", data).get("inventory") or "")
        return _rendered("tune", **_tune(document, inventory))
    return _rendered("benchmark", **_benchmark(document, _earlier(before)))


def _earlier(before: object) -> Document | None:
    found: Document | Tune | None = visible_data(checked(before, "before")) if before else None
    if found and found["kind"] == "tune":
        raise WishError("before", "is the result of tuning, which is not compared", "give the JSON file of a benchmark")
    return found


def _rendered(kind: str, **values: Any) -> str:
    environment = renderer(TEMPLATES)
    environment.globals.update(markers=MARKERS, counted=counted)
    return environment.get_template("benchmark.html.j2").render(kind=kind, **values)


def _benchmark(document: Document, before: Document | None) -> dict[str, Any]:
    comparison = document["comparison"]
    return {
        "title": wording.headline(document),
        "facts": wording.setup(document),
        "invalid": wording.invalid(document),
        "finding": wording.finding(document) if comparison and document["verdict"] == "valid" else "",
        "tiles": list(_tiles(document)),
        "load": curves.load(document, before),
        "comparison": comparison,
        "compared": "A and B in turns" if document.get("other") else "Before and after",
        "over": wording.over(document),
        "failures": wording.more_failures(comparison) if comparison else "",
        "room": percent(comparison["smallest_detectable"]) if comparison else "",
        "ratios": forest.ratios(comparison, wording.over(document)) if comparison else None,
        "ratio_rows": _ratios(document),
        "turns_columns": TURNS_COLUMNS,
        "turns_rows": [turns_cells(row) for row in document.get("turns") or ()],
        "shards": sizes.shards(document["shards"]) if document["shards"] else None,
        "shard_columns": SHARD_COLUMNS,
        "shard_rows": [shard_cells(row) for row in document["shards"] or ()],
        "distribution": curves.distribution(document, before),
        "distribution_rows": _distribution(document, before),
        "timeline": timeline.timeline(document),
        "slowest": timeline.slowest(document),
        "events": timeline.described(document),
        "stages": [
            (wording.stage_row(stage), wording.error_kinds(stage), _host(stage)) for stage in document["stages"]
        ],
        "conditions": _conditions(document["conditions"]),
        "other_conditions": _conditions(other["conditions"]) if (other := document.get("other")) else [],
        "requests": _requests(document["requests"]),
        "calibration": _calibration(document),
        "remarks": wording.remarks(document),
    }


def _tiles(document: Document) -> Iterator[tuple[str, str, str]]:
    """Yield the figures that are shown large: name, value, and what belongs to it."""
    if document["shards"]:
        yield from _shard_tiles(document["shards"])
    for row in document.get("turns") or ():
        p99 = row["percentiles"]["p99"]
        yield f"p99 of {row['side']}", ms(p99["us"]) if p99 else "withheld", row["instance"]
    stage = _telling(document)
    knee = document["knee"]
    if knee:
        between = f"{rate(knee['low'])} passed" + (f", {rate(knee['high'])} failed" if knee["high"] else "")
        yield "knee", f"{rate(knee['rate'])}/s", f"{between}; confirmed {counted(knee['confirmed'], 'time')}"
    if stage:
        for name, given in (("p50", stage["percentiles"]["p50"]), ("p99", stage["percentiles"]["p99"])):
            at = f"at {rate(stage['rate'])} requests/s"
            why = stage["percentiles"]["withheld"].get(name, "")
            yield name, ms(given["us"]) if given else "withheld", f"{interval(given)} ms, {at}" if given else why
    results = [each["result"] for each in document["stages"] if each["result"]]
    sent = sum(result["sent"] for result in results)
    errors = sum(sum(result["errors"].values()) for result in results)
    yield "requests", f"{sent:,}", f"{errors:,} errors, warm-up not counted"


def _shard_tiles(rows: Sequence[ShardRow]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        p99 = ms(row["p99_us"]) if row["p99_us"] is not None else "withheld"
        lost = "whole" if row["shards"] == 1 else f"{percent(row['capacity_lost'])} of capacity lost"
        yield f"p99 of {row['shards']} x {row['items']}", p99, lost


def _telling(document: Document) -> Any:
    """Return the stage of which the figures are shown large: the last one that passed at the knee, or the only one."""
    knee = document["knee"]
    stages = [stage for stage in document["stages"] if knee and stage["rate"] <= knee["rate"]]
    passed = [stage for stage in stages if stage["verdict"] == "pass"]
    if passed:
        return max(enumerate(passed), key=lambda each: (each[1]["rate"], each[0]))[1]
    return document["stages"][0] if len(document["stages"]) == 1 else None


def _ratios(document: Document) -> Rows:
    found = document["comparison"]
    if not found:
        return []
    return ratio_rows(found)


def _distribution(document: Document, before: Document | None) -> list[tuple[str, ...]]:
    """Return the percentiles of the curves, as far as the requests support them."""
    found = curves.drawn(document, before)
    return [(curve.name, f"{curve.requests:,}", *(_supported(curve, nines) for nines in TAILS)) for curve in found]


def _supported(curve: curves.Curve, nines: float) -> str:
    return ms(curve.at(nines)) if nines <= curve.end else "withheld"


def _host(stage: Any) -> str:
    host = stage["host"]
    if host is None:
        return "not known"
    return (
        f"throttled {ms(host['throttled_us'])}, waited for CPUs {ms(host['psi_cpu_some_us'])}, "
        f"stolen {percent(host['steal_share'])}, others {percent(host['foreign_cpu_share'])}"
    )


def _conditions(given: Conditions) -> Rows:
    mhz = given["mhz"]
    boost = {True: "on", False: "off", None: None}[given["boost"]]
    rows = [
        ("plan", given["plan_digest"]),
        ("server", f"{given['server_version']} ({given['server_id']})"),
        ("versions", "; ".join(f"{name} {joined(list(map(str, of)))}" for name, of in given["model_versions"].items())),
        ("CPU", given["cpu"]),
        ("CPUs of the instance", given["cpus"]),
        ("governor", given["governor"]),
        ("MHz: low, median, high", ", ".join(map(number, mhz)) if mhz else None),
        ("boost", boost),
        ("clock source", given["clocksource"]),
        ("kernel", given["kernel"]),
        ("collection", given["collection_version"]),
        ("batching", ", ".join(settings({"batching": given["settings"]["batching"], "threads": {}}))),
        ("flags", ", ".join(f"{name}={value}" for name, value in sorted(given["settings"]["flags"].items()))),
    ]
    return [(name, value or "not known") for name, value in rows]


def _requests(given: Requests) -> Rows:
    source = given["source"] + (f", {given['file']}" if given["file"] else "")
    return [
        ("from", source),
        ("different ones", f"{given['count']:,}"),
        ("items", f"{number(given['items']['mean'])} in the mean, {number(given['items']['max'])} at most"),
        ("bytes", f"{number(given['bytes']['mean'])} in the mean, {number(given['bytes']['max'])} at most"),
        ("digest", given["digest"]),
    ]


def _calibration(document: Document) -> list[tuple[str, Rows]]:
    given = document["calibration"]
    return [(name, list(_calibrated(each))) for name, each in sorted(given["protocols"].items())] if given else []


def _calibrated(given: Calibrated) -> Iterator[tuple[str, str]]:
    if "missing" in given:
        yield "not calibrated", given["missing"]
        return
    yield "a core sends", f"{rate(given.get('requests_per_s_a_core'))} requests/s"
    yield "a request costs the client", ms(given.get("cpu_us_a_request"))
    yield "a stub that answers after", ms(given.get("delay_us"))
    yield "was measured as", f"{ms(given.get('measured_p50_us'))}, an error of {percent(given.get('error'))}"
    yield "overhead", ms(given.get("overhead_us"))


def _tune(document: Tune, inventory: str) -> dict[str, Any]:
    fit = document["service_time"]
    choice, trial = document["choice"], wording.chosen(document)
    turns = choice.get("turns") if choice else None
    return {
        "title": wording.tuned(document),
        "facts": [f"host {document['host']}", f"{document['began']} to {document['ended']}"],
        "alarm": "" if document["restored"] else NOT_RESTORED,
        "tiles": list(_tune_tiles(document)),
        "reasons": choice["reasons"] if choice else [],
        "turns": forest.ratios(turns, wording.BEST_OVER_PLANNED) if turns else None,
        "turn_columns": (wording.BEST_OVER_PLANNED, "ratio (95 % interval)"),
        "turn_rows": ratio_rows(turns) if turns else [],
        "trials": forest.trials(document),
        "trial_columns": (*TRIAL_COLUMNS, "outcome"),
        "trial_rows": [
            (*trial_cells(document, each), f"{each['outcome']}: {each['why']}") for each in document["trials"]
        ],
        "service_time": sizes.service_time(fit) if fit else None,
        "fit_sentence": fit["sentence"] if fit else "",
        "fit_rows": [(number(point["items"]), ms(point["us"])) for point in fit["points"]] if fit else [],
        "cuts": [
            (wording.cut(each), sizes.shards(each["rows"]), [shard_cells(row) for row in each["rows"]])
            for each in document.get("shards") or ()
        ],
        "shard_columns": SHARD_COLUMNS,
        "inventory": inventory,
        "chosen": settings(trial["settings"]) if trial else [],
        "conditions": _conditions(document["conditions"]),
        "remarks": document["remarks"],
    }


def _tune_tiles(document: Tune) -> Iterator[tuple[str, str, str]]:
    trial, choice = wording.chosen(document), document["choice"]
    for name, measured in (("default", document["baseline"]), ("planned", document["planned"])):
        knee = measured["knee"]
        between = (
            f"{rate(knee['low'])} to {rate(knee['high'])} requests/s"
            if knee
            else "no rate was found that keeps the objective"
        )
        yield name, f"{rate(knee['rate'])}/s" if knee else "none", between
    if trial and choice:
        against = f"{ratio(choice['against_planned'])} times planned" if choice["against_planned"] else ""
        yield f"chosen: trial {trial['number']}", f"{rate(trial['rate'])}/s", against
