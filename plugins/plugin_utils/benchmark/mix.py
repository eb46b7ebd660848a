# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The mix of requests that a benchmark sends: from a file of samples, the model's probe, or made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from . import requests as bodies
from .options import Options
from .signature import known


class Mix(NamedTuple):
    """The requests of a benchmark and what its report says of them."""

    bodies: list[Any]
    described: dict[str, Any]


def requests(asked: Options, target: Mapping[str, Any], metadata: Mapping[str, Any]) -> Mix:
    """Return the requests, checked against the signatures that the server has.

    :param metadata: by model, what the server says of it, or a text where it says nothing.
    :raises WishError: a sample does not match, or no request can be made.
    """
    models = _models(metadata, target["model"])
    source, name = "generated", None
    if asked.samples:
        source, name = "samples", Path(asked.samples).name
        found = bodies.of_file(asked.samples, models)
    elif target["probe"]:
        source = "probe"
        found = [bodies.of_probe("probe", target["probe"], target["model"], models)]
    else:
        model, signature = target["model"], target["signature"]
        found = bodies.generated(models, model, items=asked.items or 1, seed=asked.seed, signature=signature)
    if asked.items and source != "generated":
        found = bodies.scaled(found, asked.items)
    unable = bodies.without_rest(found) if asked.protocol == "rest" else ""
    if unable:
        raise WishError("protocol", f"is rest, and requests of {unable} cannot be written in JSON", "use grpc")
    return Mix(found, dict(bodies.describe(found, asked.protocol, source, name)))


def sentence(mix: Mix) -> str:
    """Return what is sent, in words."""
    described = mix.described
    origin = {
        "samples": f"of {described['file']}",
        "probe": "of the model's probe",
        "generated": "made from the model's signature",
    }[described["source"]]
    items, size = described["items"], described["bytes"]
    return (
        f"{counted(described['count'], 'request')} {origin}, {items['mean']:g} item{'s' * (items['mean'] != 1)} and"
        f" {size['mean'] / 1000:.3g} kB on average"
    )


def _models(metadata: Mapping[str, Any], model: str) -> Any:
    said = metadata.get(model)
    if not isinstance(said, Mapping):
        why = said or "nothing"
        raise WishError("model", f"the server does not describe {model} ({why})", "look at its state with status.yml")
    return known({name: each for name, each in metadata.items() if isinstance(each, Mapping)})
