# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark as Markdown, for a ticket or a merge request.

Text from an inventory, a host or a server is put in code spans, where nothing is markup, a link or a mention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from ..phrases import counted
from ..report.markdown import cell, code
from .document import Comparison, Document, Tune, Turns, checked
from .figures import percent, ratio
from .table import (
    MOST_ROWS,
    NOT_RESTORED,
    SHARD_COLUMNS,
    TRIAL_COLUMNS,
    TURNS_COLUMNS,
    shard_cells,
    trial_cells,
    turns_cells,
)
from .wording import (
    BEST_OVER_PLANNED,
    STAGE_COLUMNS,
    bounded,
    cut,
    finding,
    headline,
    invalid,
    more_failures,
    over,
    remarks,
    setup,
    stage_row,
    tuned,
)


def markdown(data: object) -> str:
    """Return a document as Markdown. Raises WishError."""
    document: Document | Tune = visible_data(checked(data, "document"))
    lines = _tune(document) if document["kind"] == "tune" else _benchmark(document)
    return "\n".join(lines) + "\n"


def _benchmark(document: Document) -> Iterator[str]:
    yield f"### {code(headline(document))}"
    yield from _list("invalid", invalid(document)[1:])
    if document["verdict"] == "valid" and document["comparison"]:
        yield from ["", code(finding(document))]
        yield from _comparison(document)
    yield from ["", ", ".join(map(code, setup(document))), ""]
    rows = document.get("turns")
    if rows:
        yield from _table(TURNS_COLUMNS, list(map(turns_cells, rows)))
        yield ""
    if document["shards"]:
        yield from _table(SHARD_COLUMNS, [shard_cells(row) for row in document["shards"]])
    else:
        yield from _stages(document)
    yield from _list("", bounded(remarks(document)))


def _comparison(document: Document) -> Iterator[str]:
    found = document["comparison"]
    if found:
        yield ""
        yield from _table((over(document), "ratio (95 % interval)"), ratio_rows(found))
        failures = more_failures(found)
        yield from ["", f"{failures}."] if failures else []
        room = found["smallest_detectable"]
        if room is not None:
            yield from ["", f"Differences below {percent(room)} cannot be told."]
        yield from _list("differs", bounded(found["differences"]))


def ratio_rows(found: Comparison | Turns) -> list[tuple[str, str]]:
    """Return the ratios of a comparison by what they compare."""
    p50 = {"p50": found["p50_ratio"]} if "p50_ratio" in found else {}
    ratios = {"p99": found["p99_ratio"], **p50, "throughput": found["throughput_ratio"]}
    return [(name, ratio(given)) for name, given in ratios.items()]


def _stages(document: Document) -> Iterator[str]:
    rows = [stage_row(stage) for stage in document["stages"][-MOST_ROWS:]]
    cells = [(r.name, r.offered, r.achieved, r.p50, r.p99, r.errors, r.late, f"{r.verdict}: {r.why}") for r in rows]
    yield from _table(STAGE_COLUMNS, cells)
    more = len(document["stages"]) - len(rows)
    yield from ["", f"and {counted(more, 'stage')} more on the page"] if more else []


def _tune(document: Tune) -> Iterator[str]:
    yield f"### {code(tuned(document))}"
    choice = document["choice"]
    yield from _list("", choice["reasons"] if choice else [])
    turns = choice.get("turns") if choice else None
    if turns:
        yield ""
        yield from _table((f"{BEST_OVER_PLANNED}, in turns", "ratio (95 % interval)"), ratio_rows(turns))
    if document["service_time"]:
        yield from ["", code(document["service_time"]["sentence"])]
    yield ""
    yield from _table(TRIAL_COLUMNS, [trial_cells(document, trial) for trial in document["trials"]])
    for cuts in document.get("shards") or ():
        yield from ["", code(cut(cuts)), ""]
        yield from _table(SHARD_COLUMNS, list(map(shard_cells, cuts["rows"]))) if cuts["rows"] else ()
    yield from _list("", [*([] if document["restored"] else [NOT_RESTORED]), *bounded(document["remarks"])])


def _list(lead: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield ""
        yield from (f"- {lead}: {code(each)}" if lead else f"- {code(each)}" for each in sentences)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    yield from (f"| {' | '.join(map(cell, row))} |" for row in rows)
