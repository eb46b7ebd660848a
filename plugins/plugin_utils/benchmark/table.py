# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark for the terminal: the headline, one line for each stage, what to remark, where the files are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from ..phrases import counted
from .document import Document, ShardRow, Trial, Tune, TurnsRow, checked
from .figures import UNKNOWN, WITHHELD, estimate, ms, percent, rate, settings, times
from .measured import Stage
from .wording import (
    STAGE_COLUMNS,
    bounded,
    cut,
    finding,
    headline,
    invalid,
    remarks,
    setup,
    stage_row,
    trial_outcome,
    tuned,
)

WIDTH = 100
# A search for the knee has up to twenty stages; more lines than this push the headline off a small terminal.
MOST_ROWS = 13
MOST_REMARKS = 4
SHARD_COLUMNS = ("cut", "p50", "p99", "items/s", "won", "lost", "advice")
TURNS_COLUMNS = ("side", "host", "blocks", "ok/s", "p50", "p99 (95 % interval)", "errors")
TURNS_NUMBERS = (2, 3, 6)
# The columns of stages that hold plain numbers.
STAGE_NUMBERS = (1, 2, 5, 6)


def text(data: object, files: Sequence[str] = ()) -> str:
    """Return a document as text of at most about 25 lines; ``files`` are named at its end. Raises WishError."""
    document: Document | Tune = visible_data(checked(data, "document"))
    lines = _tune(document) if document["kind"] == "tune" else _benchmark(document)
    return "\n".join([*lines, *(["", *files] if files else [])]) + "\n"


def _benchmark(document: Document) -> Iterator[str]:
    yield from _prose(headline(document))
    if document["verdict"] == "valid" and document["comparison"]:
        yield from _prose(finding(document))
        yield from _comparison(document)
    for reason in bounded(invalid(document)[1:], MOST_REMARKS):
        yield from _prose(reason, "  ! ")
    yield from _prose(", ".join(setup(document)[:-1]))
    rows = document.get("turns")
    if rows:
        yield from ["", *_aligned(TURNS_COLUMNS, map(turns_cells, rows), TURNS_NUMBERS)]
    if document["shards"]:
        yield from [
            "",
            *_aligned(SHARD_COLUMNS, map(shard_cells, document["shards"])),
        ]
    else:
        yield from ["", *_stages(document["stages"])]
    said = bounded(remarks(document), MOST_REMARKS)
    yield from ["", *(line for each in said for line in _prose(each, "  ! "))] if said else []


def _comparison(document: Document) -> Iterator[str]:
    found = document["comparison"]
    if found:
        room = found["smallest_detectable"]
        least = f"; differences below {percent(room)} cannot be told" if room is not None else ""
        yield from _prose(f"{found['reason']}{least}")
        yield from (line for each in bounded(found["differences"], MOST_REMARKS) for line in _prose(each, "  ≠ "))


def _stages(stages: Sequence[Stage]) -> Iterator[str]:
    shown = nearest(stages, MOST_ROWS)
    rows = [stage_row(stage) for stage in shown]
    cells = [(r.name, r.offered, r.achieved, r.p50, r.p99, r.errors, r.late, r.verdict) for r in rows]
    yield from _aligned(STAGE_COLUMNS, cells, STAGE_NUMBERS)
    if len(stages) == 1:
        yield from _prose(f"{stages[0]['verdict']}: {stages[0]['why']}", "  ")
    if len(shown) < len(stages):
        yield f"  and {counted(len(stages) - len(shown), 'stage')} more on the page"


def nearest(stages: Sequence[Stage], most: int) -> list[Stage]:
    """Return at most ``most`` stages in their order: the last ones, which a search ends with."""
    return list(stages[-most:])


def turns_cells(row: TurnsRow) -> tuple[str, ...]:
    """Return the cells of one of two instances in turns."""
    p50, p99 = row["percentiles"]["p50"], row["percentiles"]["p99"]
    return (
        f"{row['side']}: {row['instance']}",
        row["host"],
        f"{row['blocks']}",
        rate(row["ok"] / row["duration_s"]) if row["duration_s"] else UNKNOWN,
        ms(p50["us"]) if p50 else WITHHELD,
        estimate(p99),
        f"{row['errors']:,}",
    )


def shard_cells(row: ShardRow) -> tuple[str, ...]:
    """Return the cells of one way to cut a request."""
    return (
        f"{row['shards']} x {row['items']}",
        ms(row["p50_us"]) if row["p50_us"] is not None else "withheld",
        ms(row["p99_us"]) if row["p99_us"] is not None else "withheld",
        rate(row["capacity_items_per_s"]),
        times(row["latency_won"]),
        percent(row["capacity_lost"]),
        row["advice"] or "",
    )


def _tune(document: Tune) -> Iterator[str]:
    yield from _prose(tuned(document))
    choice = document["choice"]
    for reason in bounded(choice["reasons"] if choice else [], MOST_REMARKS):
        yield from _prose(reason, "  - ")
    if document["service_time"]:
        yield from _prose(document["service_time"]["sentence"])
    if not document["restored"]:
        yield from _prose(NOT_RESTORED, "  ! ")
    yield ""
    trials = document["trials"]
    yield from _aligned(TRIAL_COLUMNS, [trial_cells(document, trial) for trial in trials[-MOST_ROWS:]])
    if len(trials) > MOST_ROWS:
        yield f"  and {counted(len(trials) - MOST_ROWS, 'trial')} more on the page"
    for cuts in document.get("shards") or ():
        yield from ["", *_prose(cut(cuts))]
        yield from _aligned(SHARD_COLUMNS, map(shard_cells, cuts["rows"])) if cuts["rows"] else ()
    said = bounded(document["remarks"], MOST_REMARKS)
    yield from ["", *(line for each in said for line in _prose(each, "  ! "))] if said else []


TRIAL_COLUMNS = ("trial", "from", "requests/s", "p99", "settings")
NOT_RESTORED = "The instance does not have its planned settings back; run site.yml"


def trial_cells(document: Tune, trial: Trial) -> tuple[str, ...]:
    """Return the cells of a trial; the chosen one is marked."""
    choice = document["choice"]
    mark = " *" if choice and choice["trial"] == trial["number"] else ""
    return (
        f"{trial['number']}{mark}",
        trial["origin"],
        throughput(trial),
        _p99(trial),
        ", ".join(settings(trial["settings"])),
    )


def throughput(trial: Trial) -> str:
    """Return the throughput of a trial within the objective with its interval, or what became of it."""
    if trial["rate"] is None:
        return trial_outcome(trial)
    if trial["low"] is None or trial["high"] is None:
        return rate(trial["rate"])
    return f"{rate(trial['rate'])} ({rate(trial['low'])} to {rate(trial['high'])})"


def _p99(trial: Trial) -> str:
    return "withheld" if trial["p99_us"] is None else ms(trial["p99_us"])


def _prose(sentence: str, lead: str = "") -> list[str]:
    return textwrap.wrap(
        sentence,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _aligned(titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> Iterator[str]:
    table = [tuple(titles), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    for number, row in enumerate(table):
        sized = enumerate(zip(row, widths))
        sides = (cell.rjust(width) if place in numbers else cell.ljust(width) for place, (cell, width) in sized)
        line = "  ".join(sides).rstrip()
        yield "  " + (line if len(line) <= WIDTH + 20 else line[: WIDTH + 19] + "…")
        if number == 0:
            yield "  " + "  ".join("─" * width for width in widths)
