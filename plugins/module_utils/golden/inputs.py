# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The inputs of a request as people and REST write them, in rows or in columns, as tensors of a signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WishError, described, key_path, nearest
from ..load.messages import Tensor
from ..saved_model import signatures
from ..saved_model.signatures import Signature, shown
from . import tensors

ROWS, COLUMNS = "instances", "inputs"
# Names in a message; the first ones are enough.
MOST_NAMED = 8


@dataclass(frozen=True)
class Place:
    """Where a request is described, for messages: ``samples.jsonl line 3`` and then ``, inputs.age[0]``."""

    path: str
    joint: str = "."

    def of(self, field: str) -> str:
        """Return the path of a field."""
        return f"{self.path}{self.joint}{field}"


@dataclass(frozen=True)
class Asked:
    """The signature that a request is for."""

    model: str
    name: str
    signature: Signature

    @property
    def in_rows(self) -> bool:
        """Whether the first dimension of every input and output counts items, as the server's batching demands."""
        return not signatures.unbatchable({self.name: self.signature}, self.name)


def form(place: Place, held: Mapping[str, Any]) -> str:
    """Return whether a request is in rows or in columns. Raises WishError if it is in neither or in both."""
    forms = [each for each in (ROWS, COLUMNS) if each in held]
    if len(forms) != 1:
        words = "has both instances and inputs" if forms else "has neither instances nor inputs"
        raise WishError(place.path, words, "give one of them")
    return forms[0]


def read(place: Place, held: Mapping[str, Any], wanted: Asked) -> dict[str, Tensor]:
    """Return the tensors of a request. Raises WishError for what the signature does not take."""
    by_rows = form(place, held) == ROWS
    return dict(_of_rows(place, held[ROWS], wanted) if by_rows else _of_columns(place, held[COLUMNS], wanted))


def _is_named(held: Any, names: Mapping[str, Any]) -> bool:
    """Return whether inputs stand with their names: as a mapping that is not the bytes of a lone one."""
    return isinstance(held, dict) and (set(held) != {"b64"} or "b64" in names)


def _of_columns(place: Place, held: Any, wanted: Asked) -> Iterator[tuple[str, Tensor]]:
    inputs = wanted.signature.inputs
    lone = len(inputs) == 1 and not _is_named(held, inputs)
    columns = {next(iter(inputs)): held} if lone else _mapping(place.of("inputs"), held, wanted)
    for name, value in columns.items():
        base = place.of("inputs") if lone else f"{place.of('inputs')}.{shown(name)}"
        yield name, _tensor(below(base), wanted, name, value)


def _of_rows(place: Place, held: Any, wanted: Asked) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(held, list) or not held:
        words = "is empty" if held == [] else f"is {described(held)}"
        raise WishError(place.of("instances"), words, "give a list of at least one row")
    inputs = wanted.signature.inputs
    lone = len(inputs) == 1 and not _is_named(held[0], inputs)
    if lone:
        name = next(iter(inputs))
        yield name, _tensor(below(place.of("instances")), wanted, name, held)
        return
    rows = [_mapping(f"{place.of('instances')}[{number}]", row, wanted) for number, row in enumerate(held)]
    for number, row in enumerate(rows):
        if set(row) != set(rows[0]):
            raise WishError(
                f"{place.of('instances')}[{number}]",
                f"has the inputs {listed(row)} where the first row has {listed(rows[0])}",
                "give every row the same inputs",
            )
    for name in rows[0]:

        def at(indexes: Sequence[int], name: str = name) -> str:
            return f"{place.of('instances')}{_indexed(indexes[:1])}.{shown(name)}{_indexed(indexes[1:])}"

        yield name, _tensor(at, wanted, name, [row[name] for row in rows])


def below(path: str) -> tensors.At:
    """Return the function that gives the path of a value by its indexes."""
    return lambda indexes: path + _indexed(indexes)


def _indexed(indexes: Sequence[int]) -> str:
    return "".join(f"[{index}]" for index in indexes)


def _tensor(at: tensors.At, wanted: Asked, name: str, held: Any) -> Tensor:
    of = wanted.signature.inputs[name]
    return tensors.tensor(at, of.dtype, of.shape, held)


def _mapping(path: str, held: Any, wanted: Asked) -> dict[str, Any]:
    """Check that a mapping names the inputs of a signature: no other, and all that have no default."""
    inputs = wanted.signature.inputs
    if not isinstance(held, dict):
        raise WishError(path, f"is {described(held)}", f"give a mapping of the inputs {listed(inputs)}")
    for name in held:
        if name not in inputs:
            remedy = nearest(name, inputs) or f"the inputs of {shown(wanted.name)} are {listed(inputs)}"
            raise WishError(key_path(path, name), f"is no input of {shown(wanted.model)}", remedy)
    missing = sorted(set(inputs) - set(held) - wanted.signature.optional)
    if missing:
        of = inputs[missing[0]]
        raise WishError(path, f"lacks the input {shown(missing[0])}", f"give it, {of}")
    return held


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence."""
    first = [shown(name) for name in sorted(names)][:MOST_NAMED]
    return " and ".join(filter(None, (", ".join(first[:-1]), *first[-1:])))
