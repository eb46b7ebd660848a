# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The other instance of a comparison in turns: it gets the very requests that the measured one gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import Signature, Tensor, shown

from .bodies import Request, bodied, form_of, inputs_of
from .signature import Known, known

REMEDY = "name an instance whose model has the same signature"

Target = Mapping[str, Any]
Metadata = Mapping[str, Any]


def model_of(target: Target, other: Target) -> str:
    """Return the model of the other instance: that of the same name, or else its first one."""
    return str(target["model"] if target["model"] in other["models"] else other["model"])


def requests(
    sent: Sequence[Request], target: Target, other: Target, metadata: Metadata, other_metadata: Metadata
) -> list[Request]:
    """Return the requests of an instance as the other one takes them: the same inputs, for the same signatures.

    :param metadata: by model, what the measured instance's server says of it; ``other_metadata`` is the other one's.
    :raises WishError: a model or a signature is not the same there.
    """
    here, there = _described(metadata), _described(other_metadata)
    names = {target["model"]: model_of(target, other)}
    found = []
    for each in sent:
        name = names.setdefault(each["model"], each["model"])
        wanted = here[each["model"]][each["signature"]]
        problem = _unlike(name, each["signature"], wanted, there)
        if problem:
            raise WishError("against", f"{other['instance']} on {other['name']} {problem}", REMEDY)
        found.append(_renamed(each, name))
    return found


def _described(metadata: Metadata) -> Known:
    return known({name: each for name, each in metadata.items() if isinstance(each, Mapping)})


def _unlike(name: str, signature: str, wanted: Signature, there: Known) -> str:
    """Return why requests for a signature cannot be sent to a model of another name, or an empty text."""
    if name not in there:
        return f"does not describe the model {shown(name)}"
    found = there[name].get(signature)
    if found is None:
        return f"has no signature {shown(signature)} of {shown(name)}"
    for kind, ours, theirs in (("input", wanted.inputs, found.inputs), ("output", wanted.outputs, found.outputs)):
        for tensor in _differing(ours, theirs):
            whose = f"{shown(signature)} of {shown(name)}"
            return f"has the {kind} {shown(tensor)} of {whose} as {_said(theirs, tensor)}, not {_said(ours, tensor)}"
    return ""


def _differing(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[str]:
    return (name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name))


def _said(tensors: Mapping[str, Tensor], name: str) -> str:
    return str(tensors[name]) if name in tensors else "none"


def _renamed(given: Request, model: str) -> Request:
    """Return a request for a model of another name, whose values need not be those that the first one answers."""
    if model == given["model"]:
        return given
    expect = given["expect"]
    if expect is not None:
        outputs = {name: {**output, "values": None} for name, output in expect["outputs"].items()}
        expect = {**expect, "outputs": outputs}
    return bodied(model, given["signature"], inputs_of(given), form_of(given), given["weight"], expect)
