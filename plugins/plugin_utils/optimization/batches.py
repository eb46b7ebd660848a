# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of batches: the answer to a row must not depend on the rows beside it more than the original's does.

The builder answers the rows of all requests in one line, so many at a time, as a server forms batches of the rows of
different callers; each request gets its own rows back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown

from . import columns, values, verdicts
from .answers import Answer
from .columns import Couple
from .strictness import ROUNDED, Strictness
from .verdicts import Row

# Beside the sizes that the server forms: one row, and odd ones that are no multiple of a vector of the CPU.
ODD = (1, 3, 7, 13)
# Of the root mean square of a lossy candidate's errors. Measured with bfloat16: of 12,000 rows the one that moved most
# moved by once that.
OF_ERRORS = 2.0
# What a server without batching is asked for at least.
USUAL = 64
# Requests that are answered in batches, and their rows: a rule of batches shows in every one of them, and in batches of
# one row each row is a call.
ASKED, MOST_ASKED = 50, 2000
# The largest batch of a plan has some hundred rows.
MOST_ROWS = 1024


def sizes(allowed: Sequence[int]) -> list[int]:
    """Return the sizes to ask at: those that the server forms, and odd ones, up to one below the largest."""
    largest = min(max(allowed, default=USUAL), MOST_ROWS)
    return sorted({size for size in (*allowed, *ODD, largest - 1, largest) if 1 <= size <= largest})


def chosen(rows: Sequence[int]) -> list[int]:
    """Return the numbers of the requests that are answered in batches too, spread over all of them.

    :param rows: the rows of each request.
    """
    found: list[int] = []
    total = 0
    for place in range(min(len(rows), ASKED)):
        number = place * len(rows) // min(len(rows), ASKED)
        total += rows[number]
        if found and total > MOST_ASKED:
            break
        found.append(number)
    return found


def row(
    name: str,
    own: Sequence[Couple],
    both: Iterable[tuple[Answer, Answer]],
    strict: Strictness,
    wanted: Mapping[str, float],
) -> Row:
    """Return the row of one float output.

    Of each answer in batches the distance to the answer as recorded is taken, of both models. The candidate's may
    exceed that of the original by what rounding makes of another order of sums. Fewer bits round more, and a kernel for
    one row does it otherwise than that for many: there it is measured by the errors that the candidate has anyway.
    """
    found = columns.columns(own)
    scale = columns.scales(own, found)
    if strict.each is not None:
        limits = values.limits(own, scale, strict, wanted)
    else:
        allowed, relative = values.limits(own, scale, ROUNDED, {})
        errors = [OF_ERRORS * column.root_mean_square for column in found]
        limits = ([max(pair) for pair in zip(allowed, errors)], relative)
    pairs = list(both)
    alone = {one.request: (one, other) for one, other in pairs if not one.size}
    worst, at = 0.0, 0
    for pair in pairs:
        if pair[0].size and name in pair[0].outputs and pair[0].request in alone:
            before, after = (_apart(name, *each, limits) for each in zip(alone[pair[0].request], pair))
            more = 0.0 if after <= before else after - before
            if more > worst:
                worst, at = more, pair[0].size
    where = f"in batches of {at} rows" if at else "in batches of any size"
    words = f"{shown(name)}: {where} answers move {worst:.3g} times as far as they may, more than the original's do"
    return verdicts.judged(f"batches of {shown(name)}", worst <= 1.0, words, worst, 1.0)


def _apart(name: str, alone: Answer, batched: Answer, limits: tuple[list[float], float]) -> float:
    """Return how far an answer in batches lies from itself alone; padded answers have other sizes there."""
    one, other = alone.outputs[name], batched.outputs[name]
    return values.departs(one, other, *limits) if one.shape == other.shape else 0.0
