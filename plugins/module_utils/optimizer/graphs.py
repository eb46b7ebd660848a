# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The graph that a server runs: its signatures, and the operations that answers of a signature are made by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .files import GRAPH
from .runtime import FailureError, part, sentence

SERVE = "serve"
INIT = "__saved_model_init_op"
MOST_SIGNATURES = 1000
# They make the same answer for the same input although TensorFlow marks them as having state: variables and tables that
# are read, calls of functions, assertions.
STILL = frozenset(
    {
        *("VarHandleOp", "ReadVariableOp", "VariableV2", "Variable", "ResourceGather", "ResourceGatherNd"),
        *("HashTable", "HashTableV2", "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2"),
        *("MutableHashTable", "MutableHashTableV2", "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2"),
        *("MutableDenseHashTable", "MutableDenseHashTableV2", "VarIsInitializedOp", "VariableShape"),
        *("StatefulPartitionedCall", "If", "While", "Case", "For", "Assert", "Print", "PrintV2", "Placeholder"),
        *("TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3", "TensorArrayScatterV3"),
        *("TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayConcatV3", "TensorArrayCloseV3"),
        *("XlaLaunch", "TRTEngineOp"),
    }
)
# Draw numbers from a generator that goes on from call to call.
DRAWS = ("Random", "StatefulRandom", "StatefulUniform", "StatefulStandardNormal", "StatefulTruncatedNormal", "Rng")
DRAWS_ALONE = frozenset({"TruncatedNormal", "Multinomial", "ParameterizedTruncatedNormal", "StatefulRandomBinomial"})
# They read or write files of the host, or run code that no server has.
REFUSED = frozenset(
    {
        *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "DebugIdentity"),
        *("DebugIdentityV2", "DebugIdentityV3", "TextLineReaderV2", "WholeFileReaderV2", "TFRecordReaderV2"),
        *(
            "FixedLengthRecordReaderV2",
            "TextLineDataset",
            "TFRecordDataset",
            "TFRecordDatasetV2",
            "RpcCall",
            "RpcClient",
        ),
    }
)
PARSES = ("ParseExample", "ParseSingleExample", "ParseSequenceExample", "ParseSingleSequenceExample", "DecodeProto")


def read(model: Path) -> Any:
    """Return a model's SavedModel message. Raises FailureError for one that no server could load."""
    protos = part("tensorflow.core.protobuf.saved_model_pb2")
    try:
        found = protos.SavedModel.FromString((model / GRAPH).read_bytes())
    except Exception as error:  # protobuf's own class of errors differs from release to release
        raise FailureError(f"{GRAPH} is no SavedModel: {sentence(error)}") from error
    served(found)
    return found


def served(saved: Any) -> Any:
    """Return the graph that servers load. Raises FailureError where there is none, or another beside it."""
    graphs = [graph for graph in saved.meta_graphs if set(graph.meta_info_def.tags) == {SERVE}]
    if not graphs:
        raise FailureError(f"the model has no graph with the tag {SERVE}")
    if len(saved.meta_graphs) > 1:
        raise FailureError(
            f"the model has {len(saved.meta_graphs)} graphs, and only one could be kept: save it with the tag {SERVE} "
            "alone"
        )
    if len(graphs[0].signature_def) > MOST_SIGNATURES:
        raise FailureError(f"the model has more than {MOST_SIGNATURES} signatures")
    return graphs[0]


def signatures(graph: Any) -> dict[str, Any]:
    """Return the signatures that callers can name."""
    public = {name: each for name, each in graph.signature_def.items() if not name.startswith("__")}
    if not public:
        raise FailureError("the model has no signature")
    return dict(sorted(public.items()))


def tensor_names(tensor: Any) -> list[str]:
    """Return the names of the tensors of an entry of a signature, of which sparse ones have several."""
    if tensor.WhichOneof("encoding") == "coo_sparse":
        sparse = tensor.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    return [tensor.name]


def node_of(name: str) -> str:
    """Return the node of a tensor or of an input of a node."""
    return name.lstrip("^").partition(":")[0]


def output_nodes(signature: Any) -> list[str]:
    """Return the nodes that make the outputs of a signature."""
    return sorted({node_of(name) for tensor in signature.outputs.values() for name in tensor_names(tensor)})


class Walker:
    """Goes through a graph and the functions that it calls."""

    def __init__(self, graph: Any) -> None:
        self._nodes = {node.name: node for node in graph.graph_def.node}
        self._functions = {function.signature.name: function for function in graph.graph_def.library.function}

    def above(self, names: Iterable[str]) -> list[Any]:
        """Return the nodes that some nodes are made by, themselves included, those in functions too."""
        return list(self._inside(self._reached(names)))

    def tops(self, names: Iterable[str]) -> list[Any]:
        """Return the same without those in functions."""
        return self._reached(names)

    def ops(self, names: Iterable[str]) -> Counter[str]:
        """Return how often each operation stands among them."""
        return Counter(node.op for node in self.above(names))

    def _reached(self, names: Iterable[str]) -> list[Any]:
        seen: dict[str, Any] = {}
        todo = list(names)
        while todo:
            name = node_of(todo.pop())
            if name in seen:
                continue
            if name not in self._nodes:
                raise FailureError(f"the graph has no node {name[:200]}, which it names")
            seen[name] = self._nodes[name]
            todo += seen[name].input
        return list(seen.values())

    def _inside(self, nodes: Iterable[Any]) -> Iterator[Any]:
        return _with_functions(nodes, self._functions, set())


def _with_functions(nodes: Iterable[Any], functions: dict[str, Any], seen: set[str]) -> Iterator[Any]:
    """Yield nodes and those of the functions that they call, directly or not; ``seen`` gets the functions' names."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        for name in _called(node):
            if name in functions and name not in seen:
                seen.add(name)
                todo += functions[name].node_def


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        yield from (each.name for each in (value.func, *value.list.func) if each.name)


def functions(graph_def: Any) -> set[str]:
    """Return the names of the functions that a graph calls."""
    seen: set[str] = set()
    held = {function.signature.name: function for function in graph_def.library.function}
    for _ in _with_functions(graph_def.node, held, seen):
        pass
    return seen


def refused(ops: Iterable[str]) -> list[str]:
    """Return the operations that are not run here."""
    return sorted(set(ops) & REFUSED)


def parses(ops: Iterable[str]) -> bool:
    """Return whether operations parse examples."""
    return any(op.startswith(PARSES) for op in ops)


def draws(ops: Iterable[str]) -> bool:
    """Return whether operations draw numbers at random."""
    return any(op in DRAWS_ALONE or op.startswith(DRAWS) for op in ops)


def keeps_state(ops: Iterable[str]) -> bool:
    """Return whether operations leave something behind for the next call; one that is not known is taken to."""
    known = part("tensorflow.python.framework.op_def_registry")
    for op in ops:
        definition = known.get(op) if op not in STILL and not draws([op]) else None
        if definition is not None and definition.is_stateful:
            return True
    return False
