# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The content of a saved_model.pb, read without TensorFlow: tags, signatures and other requirements.

The graph itself is traversed node by node without being kept: only whether its lengths add up, and whether it has
variables. Field numbers are those of tensorflow/core/protobuf/saved_model.proto and meta_graph.proto, and of
tensorflow/core/framework/graph.proto, function.proto, node_def.proto and tensor_shape.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import RefusalError
from .signatures import DTYPES, Signature, Tensor
from .wire_format import BYTES, MOST_BYTES, VARINT, DamageError, Field, Wire, signed

# The tags that a server looks for unless its flag saved_model_tags sets others (kSavedModelTagServe).
SERVE = "serve"
EXPORT_AGAIN = "export or copy the model again"

# Far beyond what exporters write; bounds the memory that a hostile file can take.
MOST_META_GRAPHS = 100
MOST_TENSORS = 20_000
MOST_ASSETS = 20_000
# The limit for everything kept of a file: names of dozens of characters, each with an overhead of about as much.
MOST_KEPT_BYTES = 16 * 1024 * 1024
_EACH_BYTES = 64
# TensorShape::MaxDimensions()
MOST_DIMENSIONS = 254

# The tensors to restore are a constant of this name, after the argument of the op (gen_io_ops.restore_v2).
_RESTORED = b"/tensor_names"
# The only entry that TensorFlow 2 writes for a model without variables, and that no server needs.
_OBJECT_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
# Ops whose content may be only in a checkpoint and not in the graph, for graphs without such a constant.
_STATEFUL = frozenset(
    {
        *(b"VarHandleOp", b"VariableV2", b"Variable", b"AutoReloadVariable"),
        *(b"MutableHashTable", b"MutableHashTableV2", b"MutableHashTableOfTensors", b"MutableHashTableOfTensorsV2"),
        *(b"MutableDenseHashTable", b"MutableDenseHashTableV2"),
    }
)
_MOST_OP_BYTES = max(map(len, _STATEFUL)) + 1


@dataclass
class MetaGraph:
    """One graph of the file.

    ``restores``: it has ops for a checkpoint. ``restored``: whether these name any tensor, None if unknown.
    ``stateful``: it holds variables or tables, which its own initialisation may also fill.
    """

    tags: set[str] = field(default_factory=set)
    signatures: dict[str, Signature] = field(default_factory=dict)
    assets: list[str] = field(default_factory=list)
    restores: bool = False
    restored: bool | None = None
    stateful: bool = False

    @property
    def needs_variables(self) -> bool:
        """Return whether it needs the files of its checkpoint to answer (loader.cc, RestoreSession)."""
        return self.restores and (self.stateful if self.restored is None else self.restored)


@dataclass
class SavedModel:
    """The content of one saved_model.pb."""

    graphs: list[MetaGraph]

    def served(self, tags: frozenset[str] = frozenset({SERVE})) -> MetaGraph:
        """Return the graph that a server loads: the first with exactly these tags. Raises RefusalError."""
        for graph in self.graphs:
            if graph.tags == tags:
                return graph
        there = "; ".join(", ".join(sorted(graph.tags)) or "none" for graph in self.graphs)
        raise RefusalError(
            f"its saved_model.pb has no graph with the tags that the server loads, {', '.join(sorted(tags))} "
            f"(tags in it: {there[:200]})",
            "export it for serving, as tf.saved_model.save does",
        )


def read(path: str, graphs: bool = True) -> SavedModel:
    """Return the content of a saved_model.pb. Raises RefusalError if it is something else, or incomplete.

    Without ``graphs`` their nodes are skipped, which is enough for signatures.
    """
    try:
        with Wire(path) as wire:
            if wire.size > MOST_BYTES:
                raise DamageError("it has more than 2 GiB, which no server reads")
            return SavedModel(_Reader(wire, graphs).graphs())
    except DamageError as error:
        raise RefusalError(f"its saved_model.pb is damaged ({error})", EXPORT_AGAIN) from None


class _Reader:
    """Reads one file, and counts what it keeps."""

    def __init__(self, wire: Wire, nodes: bool) -> None:
        self.wire = wire
        self.nodes = nodes
        self.tensors = 0
        self.kept = 0

    def graphs(self) -> list[MetaGraph]:
        found: list[MetaGraph] = []
        for part in self.wire.fields():
            if (part.number, part.kind) == (2, BYTES):
                if len(found) == MOST_META_GRAPHS:
                    raise DamageError(f"it has more than {MOST_META_GRAPHS} graphs")
                found.append(self._meta_graph(part))
        if not found:
            raise DamageError("it holds no graph")
        return found

    def _each(self, of: Field, readers: Mapping[tuple[int, int], Callable[[Field], object]]) -> None:
        """Pass each field of a message to the reader of its number and kind; unknown fields are skipped."""
        for part in self.wire.fields(of.start, of.end):
            reader = readers.get((part.number, part.kind))
            if reader:
                reader(part)

    def _meta_graph(self, of: Field) -> MetaGraph:
        graph = MetaGraph()

        def restores(_part: Field) -> None:
            graph.restores = True

        def nodes(part: Field) -> None:
            if self.nodes:
                self._graph(part, graph)

        readers: dict[tuple[int, int], Callable[[Field], object]] = {
            (1, BYTES): lambda part: self._each(
                part, {(4, BYTES): lambda tag: graph.tags.add(self._text(tag))}
            ),
            (2, BYTES): nodes,
            (3, BYTES): restores,
            (5, BYTES): lambda part: self._signature(part, graph.signatures),
            (6, BYTES): lambda part: self._asset(part, graph.assets),
        }  # fmt: skip
        self._each(of, readers)
        return graph

    def _graph(self, of: Field, graph: MetaGraph) -> None:
        def function(part: Field) -> None:
            self._each(part, {(3, BYTES): lambda node: self._node(node, graph)})

        library = {(1, BYTES): function}
        readers = {
            (1, BYTES): lambda node: self._node(node, graph),
            (2, BYTES): lambda part: self._each(part, library),
        }
        self._each(of, readers)

    def _node(self, of: Field, graph: MetaGraph) -> None:
        name = op = b""
        for part in self.wire.fields(of.start, of.end):
            if part.kind == BYTES and part.number == 1:
                name = self._tail(part, len(_RESTORED))
            elif part.kind == BYTES and part.number == 2:
                op = self._tail(part, _MOST_OP_BYTES)
        graph.stateful = graph.stateful or op in _STATEFUL
        if name == _RESTORED and op == b"Const" and not graph.restored:
            # Read again, rather than kept in memory: a node may have millions of parts.
            parts = self.wire.fields(of.start, of.end)
            graph.restored = any(self._names_tensor(part) for part in parts if (part.number, part.kind) == (5, BYTES))

    def _text(self, of: Field) -> str:
        """Return a text, counted as kept."""
        self._keep(of.end - of.start)
        return self.wire.text(of)

    def _keep(self, size: int) -> None:
        self.kept += size + _EACH_BYTES
        if self.kept > MOST_KEPT_BYTES:
            raise DamageError(f"its names take more than {MOST_KEPT_BYTES // 1024**2} MiB")

    def _tail(self, of: Field, length: int) -> bytes:
        """Return the last bytes of a text of any length."""
        return self.wire.read(of._replace(start=max(of.start, of.end - length)))

    def _names_tensor(self, attribute: Field) -> bool:
        """Return whether a constant's value (AttrValue.tensor.string_val) names a tensor of a checkpoint."""
        return any(self.wire.read(name) not in (b"", _OBJECT_GRAPH) for name in self._within(attribute, 2, 8, 8))

    def _within(self, of: Field, *path: int) -> Iterator[Field]:
        """Yield the fields at a path of field numbers."""
        for part in self.wire.fields(of.start, of.end):
            if (part.number, part.kind) == (path[0], BYTES):
                yield from self._within(part, *path[1:]) if path[1:] else (part,)

    def _asset(self, of: Field, assets: list[str]) -> None:
        if len(assets) == MOST_ASSETS:
            raise DamageError(f"it names more than {MOST_ASSETS} assets")
        self._each(of, {(2, BYTES): lambda part: assets.append(self._text(part))})

    def _entry(self, of: Field) -> tuple[str, Field | None]:
        """Return key and value of a map entry."""
        key, value = "", None
        for part in self.wire.fields(of.start, of.end):
            if (part.number, part.kind) == (1, BYTES):
                key = self._text(part)
            elif (part.number, part.kind) == (2, BYTES):
                value = part
        return key, value

    def _signature(self, of: Field, signatures: dict[str, Signature]) -> None:
        name, content = self._entry(of)
        self._count()
        signature = signatures[name] = Signature()

        def method(part: Field) -> None:
            signature.method = self._text(part)

        if content:
            readers = {
                (1, BYTES): lambda part: self._tensor(part, signature.inputs),
                (2, BYTES): lambda part: self._tensor(part, signature.outputs),
                (3, BYTES): method,
                (4, BYTES): lambda part: signature.optional.add(self._entry(part)[0]),
            }
            self._each(content, readers)

    def _tensor(self, of: Field, tensors: dict[str, Tensor]) -> None:
        name, content = self._entry(of)
        self._count()
        # Signatures of old exporters have no shape at all, so there is nothing to compare with.
        dtype, shape = "DT_INVALID", None
        for part in self.wire.fields(content.start, content.end) if content else ():
            if (part.number, part.kind) == (2, VARINT):
                dtype = DTYPES.get(part.value, f"type {part.value}")
            elif (part.number, part.kind) == (3, BYTES):
                shape = self._shape(part)
        tensors[name] = Tensor(dtype, shape)

    def _count(self) -> None:
        self.tensors += 1
        if self.tensors > MOST_TENSORS:
            raise DamageError(f"its signatures have more than {MOST_TENSORS} parts")

    def _shape(self, of: Field) -> tuple[int, ...] | None:
        sizes: list[int] = []
        unknown_rank = False
        for part in self.wire.fields(of.start, of.end):
            if (part.number, part.kind) == (2, BYTES):
                if len(sizes) == MOST_DIMENSIONS:
                    raise DamageError(f"a tensor of its signatures has more than {MOST_DIMENSIONS} dimensions")
                self._keep(0)
                size = 0
                for one in self.wire.fields(part.start, part.end):
                    size = one.value if one[:2] == (1, VARINT) else size
                sizes.append(signed(size))
            elif (part.number, part.kind) == (3, VARINT):
                unknown_rank = part.value != 0
        return None if unknown_rank else tuple(sizes)
