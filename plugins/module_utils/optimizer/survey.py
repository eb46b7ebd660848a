# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model is, as far as recipes ask: signatures, state, randomness, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import files, freeze, graphs
from .runtime import FailureError, part, printable

VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})


def survey(model: Path) -> dict[str, Any]:
    """Return what a model is. Raises FailureError for one that no server could load."""
    found = files.sizes(model)
    graph = graphs.served(graphs.read(model))
    _has_assets(graph, found)
    walker = graphs.Walker(graph)
    signatures = {name: _signature(each, walker) for name, each in graphs.signatures(graph).items()}
    outputs = [node for each in graphs.signatures(graph).values() for node in graphs.output_nodes(each)]
    ops = walker.ops(outputs)
    at_load = freeze.init_node(graph)
    return {
        "size_mb": round(sum(found.values()) / files.MIB, 3),
        "graph_mb": round(found[files.GRAPH] / files.MIB, 3),
        "variables_mb": files.below(found, files.VARIABLES),
        "assets_mb": files.below(found, "assets"),
        "ops": dict(sorted(ops.items())),
        "already_frozen": not VARIABLES & set(ops),
        "has_state": any(each["has_state"] for each in signatures.values()),
        "has_random": any(each["has_random"] for each in signatures.values()),
        "refused_ops": graphs.refused([*ops, *walker.ops([at_load] if at_load else [])]),
        "warmup": files.WARMUP in found,
        "signatures": signatures,
    }


def _has_assets(graph: Any, found: dict[str, int]) -> None:
    """Refuse a graph that names a file which is not among its own, such as one outside of the model."""
    missing = next((each.filename for each in graph.asset_file_def if f"assets/{each.filename}" not in found), None)
    if missing is not None:
        raise FailureError(
            f"the model lacks assets/{printable(missing)}, which its graph names: give the whole SavedModel"
        )


def _signature(signature: Any, walker: graphs.Walker) -> dict[str, Any]:
    ops = walker.ops(graphs.output_nodes(signature))
    inputs = {name: _tensor(each) for name, each in sorted(signature.inputs.items())}
    outputs = {name: _tensor(each) for name, each in sorted(signature.outputs.items())}
    return {
        "method": signature.method_name,
        "inputs": inputs,
        "outputs": outputs,
        "parses_examples": graphs.parses(ops),
        "has_state": graphs.keeps_state(ops),
        "has_random": graphs.draws(ops),
        "batchable": bool(inputs) and all(_has_rows(each) for each in [*inputs.values(), *outputs.values()]),
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    shape = tensor.tensor_shape
    sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
    types = part("tensorflow.core.framework.types_pb2").DataType
    return {"dtype": types.Name(tensor.dtype), "shape": sizes}


def _has_rows(tensor: dict[str, Any]) -> bool:
    return tensor["shape"] is None or (bool(tensor["shape"]) and tensor["shape"][0] == -1)
