# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate: everything that a candidate's answers have to be before it may become a version.

A pure function of the answers of both, the original first. It fails closed: what is missing, was refused, or is too
little to tell has not passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import FLOATS, Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown, shown_shape

from ..phrases import counted, joined
from . import batches, measures, values, verdicts
from .answers import Answer
from .columns import Couple
from .measures import Task
from .strictness import OF_KIND, Strictness
from .verdicts import Row

# Words of a refusal that the builder tells; the first one is enough.
MOST_WORDS = 200


@dataclass(frozen=True)
class Evidence:
    """What both were asked, and what they have answered."""

    before: Sequence[Answer]
    after: Sequence[Answer]
    groups: Sequence[str]
    """Of each request by its number: the same for equal requests, such as a digest."""
    recorded: bool
    """Whether people recorded them; made-up ones prove nothing about a task."""
    sizes: Sequence[int] = ()
    """The batch sizes at which some were asked besides."""
    batched: Sequence[int] = ()
    """The numbers of those requests."""
    labels: Mapping[int, Sequence[float]] | None = None
    """By request, the label of each row."""
    tolerances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By output, ``atol`` and ``rtol`` as a person has given them."""


def judge(kind: str, evidence: Evidence, task: Task | None) -> list[Row]:
    """Return the rows of a candidate made by the treatment ``kind``; it passes if all of them have.

    :param task: what the model is for; None is enough for an exact treatment.
    """
    strict = OF_KIND[kind]
    kept = {(each.request, each.size): each for each in evidence.after}
    pairs = [(each, kept.get((each.request, each.size))) for each in evidence.before]
    answered = verdict_of_answers(evidence, pairs)
    if not answered.passed:
        return [answered]
    both = [(one, other) for one, other in pairs if other is not None and not one.error]
    shapes = list(_shapes(both))
    if shapes:
        return [answered, *shapes]
    return [answered, *_of_values(evidence, both, strict, task)]


def verdict_of_answers(evidence: Evidence, pairs: Sequence[tuple[Answer, Answer | None]]) -> Row:
    """Return the row that both have answered the same requests, and refused the same."""
    wanted = {(number, 0) for number in range(len(evidence.groups))}
    wanted |= {(number, size) for number in evidence.batched for size in evidence.sizes}
    found = {(each.request, each.size) for each in evidence.before}
    if not found or found != wanted:
        words = f"the original has answered {len(found & wanted)} of the {len(wanted)} requests that both are asked"
        return Row("answers", verdicts.UNPROVEN, words)
    for one, other in pairs:
        name = f"request {one.request}" + (f" in batches of {one.size}" if one.size else "")
        if other is None:
            return Row("answers", verdicts.FAILED, f"the candidate has not answered {name}")
        if bool(one.error) != bool(other.error):
            who, error = ("original", one.error) if one.error else ("candidate", other.error)
            return Row("answers", verdicts.FAILED, f"the {who} alone refuses {name}: {error[:MOST_WORDS]}")
    usable = sum(not one.error for one, _other in pairs)
    if not usable:
        return Row("answers", verdicts.UNPROVEN, "both refuse every request")
    return Row("answers", verdicts.PASSED, f"both have answered {counted(usable, 'request')} alike in form")


def _shapes(both: Sequence[tuple[Answer, Answer]]) -> Iterator[Row]:
    """Yield the first output that has another name, type or shape."""
    for one, other in both:
        if set(one.outputs) != set(other.outputs):
            names = [shown(each) for each in sorted(set(one.outputs) ^ set(other.outputs))]
            yield Row("outputs", verdicts.FAILED, f"only one of both has the output {joined(names[:3])}")
            return
        for name, held in one.outputs.items():
            found = other.outputs[name]
            if (held.dtype, held.shape) != (found.dtype, found.shape):
                words = f"{shown(name)} is {_kind(found)}, and was {_kind(held)} (request {one.request})"
                yield Row("outputs", verdicts.FAILED, words)
                return


def _kind(held: Tensor) -> str:
    return f"{held.dtype} {shown_shape(held.shape)}"


def _of_values(
    evidence: Evidence, both: Sequence[tuple[Answer, Answer]], strict: Strictness, task: Task | None
) -> Iterator[Row]:
    recorded = [pair for pair in both if not pair[0].size]
    for name in sorted({name for one, _other in both for name in one.outputs}):
        whole, own = (couples(evidence, part, name) for part in (both, recorded))
        if not own:
            yield Row(f"values of {shown(name)}", verdicts.UNPROVEN, f"no request has the output {shown(name)}")
            continue
        if whole[0].before.dtype not in FLOATS:
            names_classes = strict.needs_requests and task is not None and task.name == "classification"
            yield values.alike(name, own, task.loss) if names_classes and task else values.equal(name, whole)
            continue
        yield values.finite(name, whole)
        given = evidence.tolerances.get(name, {})
        yield from values.within(name, own, strict, given, task.loss if task else 0.0)
        if evidence.sizes:
            yield batches.row(name, own, both, strict, given)
    yield from _of_task(evidence, recorded, strict, task)


def couples(evidence: Evidence, both: Sequence[tuple[Answer, Answer]], name: str) -> list[Couple]:
    """Return one output of all answers that have it."""
    return [
        Couple(evidence.groups[one.request], one.outputs[name], other.outputs[name])
        for one, other in both
        if name in one.outputs
    ]


def _of_task(
    evidence: Evidence, recorded: Sequence[tuple[Answer, Answer]], strict: Strictness, task: Task | None
) -> Iterator[Row]:
    if not strict.needs_requests:
        return
    if task is None or not evidence.recorded:
        yield Row("task", verdicts.UNPROVEN, "a treatment that rounds is judged by its task on recorded requests")
        return
    usable = [pair for pair in recorded if task.output in pair[0].outputs]
    labels = None
    if evidence.labels is not None:
        usable = [pair for pair in usable if pair[0].request in evidence.labels]
        labels = [evidence.labels[one.request] for one, _other in usable]
    yield from measures.rows(task, couples(evidence, usable, task.output), labels)


def signatures(before: Mapping[str, Any], after: Mapping[str, Any], lost: Sequence[str], allowed: Sequence[str]) -> Row:
    """Return the row of the signatures that the builder found in both models.

    :param lost: those that the candidate does not serve any more; ``allowed`` those that a person can do without.
    """
    faces = [
        {name: {key: each.get(key) for key in ("method", "inputs", "outputs")} for name, each in found.items()}
        for found in (before, after)
    ]
    wrong = sorted(name for name in {*faces[0], *faces[1]} if faces[0].get(name) != faces[1].get(name))
    missing = sorted(set(lost) - set(allowed))
    if not faces[0] or wrong or missing:
        names = joined([shown(name) for name in (wrong or missing)[:8]])
        words = f"{names} differ from the original's" if wrong else f"{names} are lost" if missing else "there are none"
        return Row("signatures", verdicts.FAILED, words)
    return Row("signatures", verdicts.PASSED, f"{joined([shown(name) for name in sorted(faces[0])[:8]])} are the same")


def passed(rows: Sequence[Row]) -> bool:
    """Return whether a candidate has passed: there is a row, and all of them say so."""
    return bool(rows) and all(each.passed for each in rows)
