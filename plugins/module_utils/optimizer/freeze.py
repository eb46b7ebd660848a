# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Freezing: variables become constants of the graph.

The graph is rewritten and everything else is kept as it was: names of inputs and outputs, methods, tables, assets. So
signatures that classify, regress or parse examples are the same as before. What is lost is the object that Python had
saved, which no server reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import files, graphs
from .runtime import FailureError, part, sentence
from .sessions import loaded

MAIN_OP = "saved_model_main_op"
LEGACY_INIT = "legacy_init_op"
OF_VARIABLES = ("variables", "trainable_variables", "local_variables", "model_variables", "moving_average_variables")
ASSIGNS = frozenset({"Assign", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
HANDLES = frozenset({"Variable", "VariableV2", "VarHandleOp"})
FILLS = ("InitializeTable", "LookupTableImport", "LookupTableInsert")


def freeze(model: Path, out: Path) -> None:
    """Write the frozen model. Raises FailureError where that is not possible."""
    saved = graphs.read(model)
    frozen = type(saved)()
    frozen.CopyFrom(saved)
    graph = graphs.served(frozen)
    init = _initialiser(graph)
    graph.graph_def.CopyFrom(_constants(model, graph, init))
    _forget(graph, keep_init=init is not None)
    if graph.ByteSize() > files.LARGEST_GRAPH - files.MIB:
        raise FailureError("the frozen model is larger than 2 GB, which no graph may be: serve it with its variables")
    files.take_over(model, out, (files.GRAPH, files.FINGERPRINT, files.VARIABLES))
    (out / files.GRAPH).write_bytes(frozen.SerializeToString(deterministic=True))


def _initialiser(graph: Any) -> str | None:
    """Return the node that fills tables when a server loads the model; None where there is nothing to fill."""
    name = init_node(graph)
    walker = graphs.Walker(graph)
    if name is None or not any(op.startswith(FILLS) for op in walker.ops([name])):
        # What sets variables alone is not needed: their values are constants now.
        return None
    set_here = {node.name for node in walker.tops([name]) if node.op in HANDLES}
    if ASSIGNS & set(walker.ops([name])) and set_here & _read(graph):
        raise FailureError("the model sets variables and fills tables in one step when it is loaded: it stays as it is")
    return name


def _read(graph: Any) -> set[str]:
    """Return the variables that answers are made by; others hold the paths of assets, which differ between hosts."""
    outputs = [node for each in graphs.signatures(graph).values() for node in graphs.output_nodes(each)]
    return {node.name for node in graphs.Walker(graph).tops(outputs) if node.op in HANDLES}


def init_node(graph: Any) -> str | None:
    """Return the node that servers run once a model is loaded, by the places that exporters write it to."""
    if graphs.INIT in graph.signature_def:
        outputs = graph.signature_def[graphs.INIT].outputs
        return next((graphs.node_of(tensor.name) for tensor in outputs.values()), None)
    for key in (MAIN_OP, LEGACY_INIT):
        names = graph.collection_def[key].node_list.value if key in graph.collection_def else ()
        if names:
            return graphs.node_of(names[0])
    return None


def _constants(model: Path, graph: Any, init: str | None) -> Any:
    """Return the graph of all signatures with the values of its variables in it."""
    convert = part("tensorflow.python.framework.convert_to_constants").convert_variables_to_constants_from_session_graph
    kept = {node for signature in graphs.signatures(graph).values() for node in graphs.output_nodes(signature)}
    # An input that no output is made by stays an input.
    for signature in graphs.signatures(graph).values():
        kept |= {graphs.node_of(name) for each in signature.inputs.values() for name in graphs.tensor_names(each)}
    kept |= {init} if init else set()
    kept |= {graphs.node_of(asset.tensor_info.name) for asset in graph.asset_file_def}
    with loaded(model) as (session, _):
        try:
            inlined = _inlined(session.graph.as_graph_def(), sorted(kept))
            constant = convert(session, inlined, sorted(kept), variable_names_allowlist=_read(graph))
        except Exception as error:  # the converter raises whatever a graph sets off
            raise FailureError(f"TensorFlow cannot freeze the model: {sentence(error)}") from error
    return _without_unused_functions(constant)


def _inlined(graph_def: Any, kept: list[str]) -> Any:
    """Return the graph with its functions in the place of their calls.

    TensorFlow's converter leaves gathers from variables inside functions alone, and the result does not load. Its
    variant for functions (convert_variables_to_constants_v2) does the same first.
    """
    for function in graph_def.library.function:
        # Another implementation for GPUs, which keeps a function from being put in place.
        function.attr.pop("api_implements", None)
    whole = part("tensorflow.core.protobuf.meta_graph_pb2").MetaGraphDef(graph_def=graph_def)
    # What must keep its name.
    whole.collection_def["train_op"].node_list.value.extend(kept)
    config = part("tensorflow.core.protobuf.config_pb2").ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1  # small graphs as well
    config.graph_options.rewrite_options.optimizers.append("function")
    return part("tensorflow.python.grappler.tf_optimizer").OptimizeGraph(config, whole)


def _without_unused_functions(graph_def: Any) -> Any:
    called = graphs.functions(graph_def)
    used = [each for each in graph_def.library.function if each.signature.name in called]
    found = type(graph_def)()
    found.CopyFrom(graph_def)
    del found.library.function[:]
    found.library.function.extend(used)
    return found


def _forget(graph: Any, keep_init: bool) -> None:
    """Take out what speaks of variables, and the Python object that had them."""
    for field in ("saver_def", "object_graph_def"):
        graph.ClearField(field)
    dropped = [*OF_VARIABLES, *([] if keep_init else [MAIN_OP, LEGACY_INIT])]
    for key in dropped:
        if key in graph.collection_def:
            del graph.collection_def[key]
    if not keep_init and graphs.INIT in graph.signature_def:
        del graph.signature_def[graphs.INIT]
