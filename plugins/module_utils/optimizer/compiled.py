# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""XLA by an attribute in the model: the functions of its signatures ask to be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import files, graphs, recipes
from .runtime import FailureError

# tensorflow/compiler/jit/defs.cc; what jit_compile=True writes.
MUST_COMPILE = "_XlaMustCompile"
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def compile_signatures(model: Path, out: Path, survey: dict[str, Any]) -> None:
    """Write the model with its signatures marked. Raises FailureError."""
    saved = graphs.read(model)
    graph = graphs.served(saved)
    names = recipes.compilable(survey)
    for name in names:
        _mark(graph, name)
    files.take_over(model, out, (files.GRAPH, files.FINGERPRINT))
    (out / files.GRAPH).write_bytes(saved.SerializeToString(deterministic=True))


def _mark(graph: Any, name: str) -> None:
    signature = graph.signature_def[name]
    walker = graphs.Walker(graph)
    calls = [node for node in walker.tops(graphs.output_nodes(signature)) if node.op in CALLS]
    if not calls:
        raise FailureError(
            f"signature {name} calls no function, as in a frozen model or one of TensorFlow 1, and only functions can "
            "ask to be compiled: compile with flags, or before it is frozen"
        )
    for node in calls:
        node.attr[MUST_COMPILE].b = True
