# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The measure of a task: what its callers use an answer for, and how much of that a candidate loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..phrases import counted
from . import bounds, labelled, losses, verdicts
from .columns import Couple
from .labelled import Labelled
from .verdicts import Row

# A class of which so much is lost for certain is another class now, however rare it is among the requests.
MOST_OF_CLASS = 0.25
# Certain (one in 30,000) also of the worst of a thousand classes.
Z_OF_CLASS = 4.0
# The first items of a list that its callers show, where nobody says how many.
TOP = 10


@dataclass(frozen=True)
class Task:
    """What a model is for. ``loss`` is allowed of its main measure, ``top_loss`` of the first items of a list.

    ``score_loss`` is allowed of the order of lone scores, of which requests prove half as much.
    """

    name: str
    output: str
    loss: float
    top_loss: float = 0.05
    top: int = TOP
    score_loss: float = 0.05


def rows(task: Task, couples: Sequence[Couple], labels: Sequence[Sequence[float]] | None = None) -> Iterator[Row]:
    """Yield the rows of a task's own measure.

    :param labels: of each couple, the label of each of its rows.
    """
    yield from _OF_TASK[task.name](task, couples)
    if labels is not None:
        yield _by_labels(task, list(zip(couples, labels)))


def _classes(task: Task, couples: Sequence[Couple]) -> Iterator[Row]:
    if all((each.before.shape[-1] if len(each.before.shape) > 1 else 1) == 1 for each in couples):
        yield from _lone_score(task, couples)
        return
    whole, by_class = losses.top_classes(couples)
    yield enough("top class", whole.requests, "the original decides on one class")
    yield verdicts.share("top class", "another class is on top", whole.share, whole.requests, task.loss)
    yield _of_each(by_class)


def _of_each(by_class: Mapping[int, losses.Losses]) -> Row:
    """Return the row of the worst class: one that is rare must not be lost for the others' sake."""
    found = [(bounds.lower(each.share, each.requests, Z_OF_CLASS), place) for place, each in by_class.items()]
    worst, at = max(found, default=(0.0, 0))
    words = f"class {at} is another class in {worst:.2%} of its rows at least; {MOST_OF_CLASS:.0%} allowed of any class"
    return verdicts.judged("each class", worst <= MOST_OF_CLASS, words, worst, MOST_OF_CLASS)


def _lone_score(task: Task, couples: Sequence[Couple]) -> Iterator[Row]:
    """Yield the row of one score a row: callers have thresholds of their own, so that its order is what counts."""
    before, after, weights = [], [], losses.Losses()
    for each in couples:
        before += losses.scores(each.before.values)
        after += losses.scores(each.after.values)
        weights.add(each.group, 0.0, float(len(each.before.values)))
    loss = losses.discordance(before, after)
    # Pairs share their rows: their mean scatters like that of half as many (Hoeffding, 1963, section 5).
    worth = weights.requests / 2 if loss is not None else 0.0
    yield enough("order of scores", 2 * worth, "scores differ")
    yield verdicts.share("order of scores", "two rows are in the other order", loss or 0.0, worth, task.score_loss)


def _lists(task: Task, couples: Sequence[Couple]) -> Iterator[Row]:
    pairs, first = losses.orders(couples), losses.tops(couples, task.top)
    yield enough("order of items", pairs.requests, "a request has items to be put in order")
    yield verdicts.share("order of items", "two items are in the other order", pairs.share, pairs.requests, task.loss)
    what = f"an item of the first {task.top} is lost"
    yield verdicts.share("first items", what, first.share, first.requests, task.top_loss)


def _numbers(_task: Task, couples: Sequence[Couple]) -> Iterator[Row]:
    """Yield how many requests there are: what callers of a number lose is its distance, which ``values`` looks at."""
    yield enough("numbers", bounds.effective(_sizes(couples).values()), "a number comes back")


def _vectors(task: Task, couples: Sequence[Couple]) -> Iterator[Row]:
    found = losses.directions(couples)
    yield enough("direction of vectors", found.requests, "a vector comes back")
    what = f"a vector points elsewhere (cosine below {losses.ALIKE})"
    yield verdicts.share("direction of vectors", what, found.share, found.requests, task.loss)


def _sizes(couples: Sequence[Couple]) -> Mapping[str, float]:
    found = losses.Losses()
    for each in couples:
        found.add(each.group, 0.0, float(each.before.shape[0] if each.before.shape else 1))
    return found.weight


def enough(what: str, requests: float, where: str) -> Row:
    """Return the row that asks for as many independent requests as anything may be concluded from."""
    least = bounds.LEAST_REQUESTS
    words = f"{counted(int(requests), 'independent request')} where {where}; at least {least} needed"
    verdict = verdicts.PASSED if requests >= least else verdicts.UNPROVEN
    return Row(f"evidence of {what}", verdict, words, float(int(requests)), float(least))


def _by_labels(task: Task, known: Sequence[Labelled]) -> Row:
    if task.name == "classification":
        lone = all(couple.before.shape[-1:] in ((), (1,)) or len(couple.before.shape) == 1 for couple, _ in known)
        return labelled.area(known, task.loss) if lone else labelled.accuracy(known, task.loss)
    return labelled.gain(known, task.loss) if task.name == "ranking" else labelled.error(known, task.loss)


_OF_TASK: Mapping[str, Callable[[Task, Sequence[Couple]], Iterator[Row]]] = {
    "classification": _classes,
    "ranking": _lists,
    "regression": _numbers,
    "embedding": _vectors,
}
TASKS = tuple(_OF_TASK)
