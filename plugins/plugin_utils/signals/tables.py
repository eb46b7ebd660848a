# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of the console pages: one query each, however many hosts there are.

Prometheus's templates know no map in which a cell could be looked up. So the query itself gives every cell of every
row, in order: what has no sample is NaN there, and "no data" on the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from . import gotext
from .rules import ALERTING

# Over the alerts' last evaluation this age, nobody knows whether one would fire: eight intervals of 15 s.
EVALUATED_S = 120
# The oldest evaluation of any group counts: each has alerts that no other one has.
EVALUATION_AGE = (
    f'(time() - min(prometheus_rule_group_last_evaluation_timestamp_seconds{{rule_group=~".*{ALERTING};.*"}}))'
)
EVALUATED = f"({EVALUATION_AGE} < {EVALUATED_S})"


@dataclass(frozen=True)
class Column:
    """A column: ``expr`` has a sample for each row, or several that ``of`` makes one.

    ``kind`` names the template that shows a value. A column with ``with_next`` is shown together with the one after
    it, in that one's cell: the lower edge before the upper one, some before all.
    """

    title: str
    kind: str
    expr: str
    of: str = "sum"
    with_next: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose rows are what ``rows`` gives by the labels in ``keys``; ``empty`` is said when there are none."""

    title: str
    keys: tuple[str, ...]
    rows: str
    columns: tuple[Column, ...]
    empty: str
    note: str = ""
    more: str = ""

    @cached_property
    def base(self) -> str:
        """Return PromQL that is 1 for each row."""
        return f"group by ({', '.join(self.keys)}) ({self.rows})"

    def cell(self, number: int, column: Column) -> str:
        """Return PromQL of a column's cells, NaN for the rows that it has none for."""
        expr = f"{column.of} by ({', '.join(self.keys)}) ({column.expr})"
        whole = f"({expr} and {self.base}) or ({self.base} * NaN)"
        return f'label_replace({whole}, "column", "{number:02}", "", "")'

    @property
    def query(self) -> str:
        """Return PromQL of all cells, as a value in a Go template."""
        return gotext.text(" or ".join(self.cell(number, column) for number, column in self.numbered))

    @property
    def numbered(self) -> list[tuple[int, Column]]:
        """Return the columns with their numbers."""
        return list(enumerate(self.columns, 1))

    @property
    def shown(self) -> list[Column]:
        """Return the columns that have cells of their own."""
        return [column for column in self.columns if not column.with_next]

    @property
    def order(self) -> tuple[str, ...]:
        """Return the labels to sort by, the last one first: sorting is stable."""
        return ("column", *reversed(self.keys))


def alerts(keys: tuple[str, ...], rows: str) -> Column:
    """Return the column with the number of alerts that fire for a row; without evaluation there is no number."""
    by = ", ".join(keys)
    firing = f'count by ({by}) (ALERTS{{alertstate="firing"}})'
    quiet = f"0 * group by ({by}) ({rows}) and on () {EVALUATED}"
    return Column("Alerts", "faults", f"({firing}) or ({quiet})", "max")
