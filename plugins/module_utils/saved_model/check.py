# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a version on disk: that it loads, keeps its contract and suits the servers that will load it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..disk import archives
from ..disk.archives import INDEX
from ..errors import RefusalError
from . import checkpoint, repeatable, signatures
from . import graph as saved_model
from .graph import MetaGraph, SavedModel

GRAPH = "saved_model.pb"


@dataclass(frozen=True)
class Demands:
    """The demands on every version of a model: the contract, and the use that its instances make of it.

    ``batching`` names the instances that form batches; ``tags`` are the sets of tags that instances load;
    ``repeatable`` is whether equal requests have to get equal answers, since gateways remember them.
    """

    contract: Mapping[str, Any] | None = None
    batching: tuple[str, ...] = ()
    tags: tuple[frozenset[str], ...] = ()
    repeatable: bool = False

    def plain(self) -> dict[str, Any]:
        """Return the demands as plain data, for transfer to the controller."""
        tags = [sorted(each) for each in self.tags]
        return {"contract": self.contract, "batching": list(self.batching), "tags": tags, "repeatable": self.repeatable}

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Demands:
        """Return the demands that ``plain`` was made from."""
        tags = tuple(frozenset(each) for each in data["tags"])
        return cls(data["contract"], tuple(data["batching"]), tags, bool(data.get("repeatable")))

    @property
    def signature(self) -> str | None:
        """Return the signature that callers name, if known."""
        return (self.contract or {}).get("signature_name")


def check(directory: str, files: Mapping[str, int], demands: Demands) -> None:
    """Refuse a version that a server could not load or callers could not use. ``files``: sizes by path."""
    if INDEX in files:
        checkpoint.check(files, os.path.join(directory, INDEX))
    if GRAPH not in files:
        # saved_model.pbtxt: only the server's own parser reads it, and its metadata are compared afterwards.
        return
    model = saved_model.read(os.path.join(directory, GRAPH))
    for graph in _served(model, demands):
        _check_parts(graph, files)
    fit(model, demands)
    if demands.repeatable:
        repeatable.check(os.path.join(directory, GRAPH))


def _served(model: SavedModel, demands: Demands) -> list[MetaGraph]:
    return [model.served(tags) for tags in demands.tags or (frozenset({saved_model.SERVE}),)]


def signatures_of(directory: str, demands: Demands) -> Mapping[str, signatures.Signature]:
    """Return the signatures that a server of a version will have, by its saved_model.pb."""
    return _served(saved_model.read(os.path.join(directory, GRAPH), graphs=False), demands)[0].signatures


def _check_parts(graph: MetaGraph, files: Mapping[str, int]) -> None:
    """Refuse a graph without the files that were exported with it."""
    if graph.needs_variables and INDEX not in files:
        raise RefusalError(
            f"its graph has variables and {INDEX} is missing", "give the whole SavedModel, not saved_model.pb alone"
        )
    missing = next((name for name in graph.assets if f"assets/{name}" not in files), None)
    if missing is not None:
        named = signatures.shown(missing)
        raise RefusalError(f"it lacks assets/{named}, which its graph names", "give the whole SavedModel")


def fit(model: SavedModel, demands: Demands) -> None:
    """Refuse a model that departs from its contract, or cannot be batched by an instance that forms batches."""
    for graph in _served(model, demands):
        if demands.contract:
            words = signatures.departures(demands.contract, graph.signatures)
            if words:
                raise RefusalError(f"it departs from the contract: {words}", signatures.CONTRACT_REMEDY, "contract")
        words = signatures.unbatchable(graph.signatures, demands.signature) if demands.batching else ""
        if words:
            raise RefusalError(*unbatched(words, demands.batching))


def unbatched(words: str, instances: tuple[str, ...]) -> tuple[str, str]:
    """Return problem and remedy for a model that cannot be served in batches."""
    named = ", ".join(instances)
    return (
        f"it cannot be served in batches, which instance {named} forms: {words}",
        f"write batching: {{enabled: false}} for {named} in tfserving_instances, "
        "or export it with a free first dimension",
    )


def served_from(directory: str, demands: Demands) -> None:
    """Check an already published version against today's demands; its files are known to be complete."""
    path = os.path.join(directory, GRAPH)
    if (demands.contract or demands.batching) and os.path.isfile(path):
        fit(saved_model.read(path, graphs=False), demands)
    if demands.repeatable and os.path.isfile(path):
        repeatable.check(path)


def of_source(source: str, prefix: str, found: archives.Survey, demands: Demands, scratch: str) -> None:
    """Check a source before it is unpacked or sent; from an archive two files are extracted to ``scratch``."""
    directory = os.path.join(source, prefix)
    if not os.path.isdir(source):
        directory = scratch
        archives.extract(source, {f"{prefix}{name}": name for name in (GRAPH, INDEX)}, scratch, found.files)
    check(directory, found.below(prefix).files, demands)
