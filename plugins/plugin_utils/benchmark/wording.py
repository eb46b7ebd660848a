# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says, in sentences: the headline, why it is invalid, what is withheld, what to remark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..phrases import counted, joined
from . import in_turns
from .document import Comparison, Cuts, Document, Knee, ShardRow, Trial, Tune, TurnsRow
from .figures import estimate, ms, number, percent, rate, ratio, withheld
from .measured import Stage

# Of one kind of sentence the terminal and a comment repeat no more; the page has the rest.
MOST_SENTENCES = 6
# Of more stages than this only the number is said.
MOST_NAMES = 4


@dataclass(frozen=True)
class StageRow:
    """A stage as texts."""

    name: str
    offered: str
    achieved: str
    p50: str
    p99: str
    errors: str
    late: str
    client: str
    server: str
    verdict: str
    why: str
    remarks: tuple[str, ...]


STAGE_COLUMNS = ("stage", "offered/s", "ok/s", "p50", "p99 (95 % interval)", "errors", "late", "verdict")


def headline(document: Document) -> str:
    """Return the one sentence that a benchmark is made for."""
    if document["verdict"] == "invalid":
        reasons = invalid(document)
        why = f": {reasons[0]}" if reasons else ""
        return f"This benchmark of {document['instance']} is invalid{why}"
    if document["comparison"]:
        return _compared(document, document["comparison"])
    return finding(document)


def finding(document: Document) -> str:
    """Return what this run found by itself, whatever came before it."""
    if document["shards"]:
        return _shards(document, document["shards"])
    rows = document.get("turns")
    if rows:
        return "; ".join(map(_side, rows))
    if document["kind"] == "knee":
        return _knee(document, document["knee"])
    stages = document["stages"]
    return _fixed(document, stages[0]) if stages else f"{document['instance']}: no stage ran"


def _knee(document: Document, knee: Knee | None) -> str:
    objective = _objective(document)
    if knee is None:
        failed = next((stage["why"] for stage in document["stages"] if stage["verdict"] != "pass"), "no stage ran")
        return f"{document['instance']}: no rate was found that keeps {objective} ({failed})"
    if knee["high"] is None:
        return f"{document['instance']} keeps {objective} up to at least {rate(knee['rate'])} requests/s"
    between = f"between {rate(knee['low'])} and {rate(knee['high'])}"
    return f"{document['instance']} keeps {objective} up to {rate(knee['rate'])} requests/s ({between})"


def _objective(document: Document) -> str:
    slo = document["slo_p99_ms"]
    return "its objective" if slo is None else f"p99 ≤ {number(slo)} ms"


def _fixed(document: Document, stage: Stage) -> str:
    p50, p99 = stage["percentiles"]["p50"], stage["percentiles"]["p99"]
    figures = f"p50 {estimate(p50)}, p99 {estimate(p99)}"
    return f"{document['instance']} answers {_achieved(stage)} of {rate(stage['rate'])} requests/s with {figures}"


def _side(row: TurnsRow) -> str:
    p50, p99 = row["percentiles"]["p50"], row["percentiles"]["p99"]
    return f"{row['side']}, {row['instance']}: p50 {estimate(p50)}, p99 {estimate(p99)}"


def _compared(document: Document, found: Comparison) -> str:
    name = in_turns.of_sides(document)[0] if document.get("other") else document["instance"]
    against = found["against"]
    if found["verdict"] == "not comparable":
        return f"{name} cannot be compared with {against}: {found['reason']}"
    verdict = "does not differ from" if found["verdict"] == "no difference" else f"is {found['verdict']} than"
    figures = [f"p99 times {ratio(found['p99_ratio'])}"] if found["p99_ratio"] else []
    figures += [f"throughput times {ratio(found['throughput_ratio'])}"] if found["throughput_ratio"] else []
    figures += [failures] if (failures := more_failures(found)) else []
    return f"{name} {verdict} {against}" + (f": {joined(figures)}" if figures else "")


def more_failures(found: Comparison) -> str:
    """Return by how much the share of failed requests differs, where the whole interval tells that it does."""
    given = found.get("errors_difference")
    if not given or given["low"] <= 0 <= given["high"]:
        return ""
    ends = f"{percent(abs(given['low']))} to {percent(abs(given['high']))}"
    more = "more" if given["value"] > 0 else "fewer"
    return f"{percent(abs(given['value']))} ({ends}) {more} of the requests failed"


def over(document: Document) -> str:
    """Return what the ratios of a comparison are of."""
    return "A / B" if document.get("other") else "after / before"


def cut(cuts: Cuts) -> str:
    """Return what is said of shards with one setting of a tuning."""
    return f"Requests in shards, with the {settings_of(cuts['of'])}: {cuts['sentence']}"


def settings_of(of: str) -> str:
    """Return what the settings of ``of``, ``plan`` or ``chosen``, are called in sentences."""
    return "planned settings" if of == "plan" else "chosen settings"


def _shards(document: Document, rows: list[ShardRow]) -> str:
    whole = next((row for row in rows if row["shards"] == 1), rows[0])
    items = whole["shards"] * whole["items"]
    known = [row for row in rows if row["p99_us"] is not None]
    if whole["p99_us"] is None or not known:
        return f"{document['instance']}: p99 of one request of {items} items is withheld; the table says why"
    best = min(known, key=lambda row: row["p99_us"] or 0)
    if best is whole:
        return f"{document['instance']} answers {items} items fastest as one request: p99 {ms(whole['p99_us'])}"
    lost = best["capacity_lost"]
    cost = "capacity not known" if lost is None else f"capacity {percent(lost)} lower"
    return (
        f"{document['instance']} answers {items} items in {ms(best['p99_us'])} as {best['shards']} x {best['items']} "
        f"instead of {ms(whole['p99_us'])} (p99), with {cost}"
    )


def tuned(document: Tune) -> str:
    """Return the one sentence that tuning is made for."""
    name, choice = document["instance"], document["choice"]
    trial = chosen(document)
    if choice is None or trial is None:
        return f"{name}: no settings were chosen; the planned ones stay"
    within = f"p99 ≤ {number(document['slo_p99_ms'])} ms"
    against = choice["against_planned"]
    if trial["origin"] == "plan" or choice.get("verdict") == "plan":
        return f"The planned settings of {name} are right: {rate(trial['rate'])} requests/s within {within}"
    times = f", {ratio(against)} times the planned settings" if against else ""
    how = f"with trial {trial['number']}" if trial["settings"]["batching"] else "without batching"
    return f"{name} serves {rate(trial['rate'])} requests/s within {within} {how}{times}"


# The sides of a tuning's turns.
BEST_OVER_PLANNED = "best of the trials / planned"


def chosen(document: Tune) -> Trial | None:
    """Return the trial that was chosen."""
    choice = document["choice"]
    return next((each for each in document["trials"] if choice and each["number"] == choice["trial"]), None)


def trial_outcome(trial: Trial) -> str:
    """Return what became of a trial without a throughput."""
    return "within the objective at no rate" if trial["outcome"] == "measured" else trial["outcome"]


def setup(document: Document) -> list[str]:
    """Return in a few words what was measured, where and when."""
    loads = counted(len(document["load_hosts"]), "load host")
    engines = sorted({stage["result"]["engine"] for stage in document["stages"] if stage["result"]})
    other = document.get("other")
    a = [f"model {document['model']}", f"host {document['host']}"]
    b = [f"model {other['model']}", f"host {other['host']}"] if other else a
    return [
        *([f"A: {joined(a)}", f"B: {joined(b)}"] if a != b else a),
        f"{document['protocol']}, {document['arrivals']} arrivals",
        f"{counted(len(document['stages']), 'stage')} from {loads}",
        *([f"engine {joined(engines)}"] if engines else []),
        f"{document['began']} to {document['ended']}",
    ]


def invalid(document: Document) -> list[str]:
    """Return why a benchmark is invalid, each reason once."""
    if document["verdict"] != "invalid":
        return []
    bad = [f"{stage['name']}: {stage['why']}" for stage in document["stages"] if stage["verdict"] == "invalid"]
    if len(document["stages"]) == 1:
        bad = [stage["why"] for stage in document["stages"] if stage["verdict"] == "invalid"]
    return list(dict.fromkeys(bad)) or document["remarks"][:1]


def remarks(document: Document) -> list[str]:
    """Return what the reader must know besides the figures: what is withheld, what went wrong, and the remarks."""
    refused = _grouped(document, lambda stage: withheld(stage["percentiles"]))
    told = _grouped(document, lambda stage: stage["remarks"])
    return list(dict.fromkeys([*refused, *_problems(document), *document["remarks"], *told]))


def _grouped(document: Document, sentences: Callable[[Stage], Iterable[str]]) -> Iterator[str]:
    """Yield what is said of stages, each sentence once."""
    stages: dict[str, list[str]] = {}
    for stage in document["stages"]:
        for sentence in sentences(stage):
            stages.setdefault(sentence, []).append(stage["name"])
    for sentence, names in stages.items():
        who = joined(names) if len(names) <= MOST_NAMES else f"{len(names)} stages"
        yield f"{who}: {sentence}" if len(document["stages"]) > 1 else sentence


def _problems(document: Document) -> Iterator[str]:
    for stage in document["stages"]:
        if stage["result"] is None:
            yield f"{stage['name']} has no result"
            continue
        yield from (f"{stage['name']}: {problem}" for problem in stage["result"]["problems"])
        difference = server_difference(stage)
        if difference:
            sent = stage["result"]["all"]["sent"]
            yield f"{stage['name']}: the server counted {sent + difference:,} requests, the clients sent {sent:,}"


def server_difference(stage: Stage) -> int | None:
    """Return by how many requests the server's count differs from what was sent; None where it was not read."""
    if stage["result"] is None or stage["result"]["counters"] is None:
        return None
    counters = stage["result"]["counters"]
    return round(sum(counters["after"].values()) - sum(counters["before"].values())) - stage["result"]["all"]["sent"]


def stage_row(stage: Stage) -> StageRow:
    """Return a stage as texts."""
    result, percentiles = stage["result"], stage["percentiles"]
    difference = server_difference(stage)
    return StageRow(
        stage["name"],
        rate(stage["rate"]),
        _achieved(stage),
        ms(percentiles["p50"]["us"]) if percentiles["p50"] else "withheld",
        estimate(percentiles["p99"]),
        _errors(stage),
        percent(result["late"] / result["sent"]) if result and result["sent"] else "not known",
        percent(max(result["cpu"])) if result and result["cpu"] else "not known",
        "not read" if difference is None else "agrees" if difference == 0 else f"{difference:+,}",
        stage["verdict"],
        stage["why"],
        (*withheld(percentiles), *stage["remarks"]),
    )


def _achieved(stage: Stage) -> str:
    result = stage["result"]
    return rate(result["ok"] / result["duration_s"]) if result and result["duration_s"] else "not known"


def _errors(stage: Stage) -> str:
    return f"{sum(stage['result']['errors'].values()):,}" if stage["result"] else "not known"


def error_kinds(stage: Stage) -> str:
    """Return the errors of a stage by kind, the most frequent first."""
    errors = stage["result"]["errors"] if stage["result"] else {}
    return ", ".join(
        f"{count:,} {kind}" for kind, count in sorted(errors.items(), key=lambda each: (-each[1], each[0]))
    )


def bounded(sentences: Iterable[str], most: int = MOST_SENTENCES) -> list[str]:
    """Return the first sentences, and how many more the page has."""
    found = list(sentences)
    return found if len(found) <= most else [*found[: most - 1], f"and {len(found) - most + 1} more on the page"]
