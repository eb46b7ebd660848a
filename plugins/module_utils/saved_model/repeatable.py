# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a graph answers equal requests alike: no op that its outputs need draws lots, reads a clock or keeps a state.

Saved graphs are full of ops that no call ever runs: initialisers of variables, dropout of training. So only the nodes
are looked at that a signature's outputs depend on, and the functions that those call, one within another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import RefusalError
from .graph import EXPORT_AGAIN
from .wire_format import BYTES, MOST_BYTES, DamageError, Field, Wire

# From tensorflow/core/ops: random_ops, stateful_random_ops, candidate_sampling_ops, logging_ops, image_ops.
RANDOM = frozenset(
    b"RandomUniform RandomUniformInt RandomStandardNormal ParameterizedTruncatedNormal TruncatedNormal RandomShuffle"
    b" Multinomial RandomGamma RandomPoisson RandomPoissonV2 RandomCrop StatefulUniform StatefulUniformFullInt"
    b" StatefulUniformInt StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal"
    b" StatefulRandomBinomial NonDeterministicInts RngReadAndSkip SampleDistortedBoundingBox"
    b" SampleDistortedBoundingBoxV2 UniformCandidateSampler LogUniformCandidateSampler"
    b" LearnedUnigramCandidateSampler ThreadUnsafeUnigramCandidateSampler FixedUnigramCandidateSampler"
    b" AllCandidateSampler".split()
)
CLOCK = frozenset({b"Timestamp"})
# What a call leaves behind for the next one: resource_variable_ops, state_ops, lookup_ops, data_flow_ops.
STATE = frozenset(
    b"AssignVariableOp AssignAddVariableOp AssignSubVariableOp Assign AssignAdd AssignSub CountUpTo ResourceCountUpTo"
    b" ScatterAdd ScatterSub ScatterUpdate ScatterMul ScatterDiv ScatterMin ScatterMax ScatterNdAdd ScatterNdSub"
    b" ScatterNdUpdate ResourceScatterAdd ResourceScatterSub ResourceScatterUpdate ResourceScatterMul"
    b" ResourceScatterDiv ResourceScatterMin ResourceScatterMax ResourceScatterNdAdd ResourceScatterNdSub"
    b" ResourceScatterNdUpdate ResourceStridedSliceAssign LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2"
    b" QueueEnqueue QueueEnqueueV2 QueueDequeue QueueDequeueV2 Stage Unstage Barrier BarrierInsertMany".split()
)
_WORDS = ((RANDOM, "draws lots"), (CLOCK, "reads the clock"), (STATE, "keeps a state"))
_FOUND = RANDOM | CLOCK | STATE
# A graph of 100,000 nodes takes 40 MB here; one that is larger is not judged.
MOST_NODES = 250_000
MOST_LINKS = 1_000_000
_LONGEST = 1024
# kSavedModelInitOpSignatureKey and its like (tensorflow/cc/saved_model/constants.h).
_LOADING = b"__saved_model_"
_REMEDY = "take the cache off the model, or write cache: {deterministic: true} where you know better"


@dataclass
class _Body:
    """The nodes of a graph or a function, by name: what each needs, and the functions that it may call."""

    found: dict[bytes, bytes] = field(default_factory=dict)
    inputs: dict[bytes, list[bytes]] = field(default_factory=dict)
    calls: dict[bytes, list[bytes]] = field(default_factory=dict)


@dataclass
class _Graph:
    main: _Body = field(default_factory=_Body)
    functions: dict[bytes, _Body] = field(default_factory=dict)
    outputs: set[bytes] = field(default_factory=set)


def check(path: str) -> None:
    """Refuse a saved_model.pb whose answers may differ for equal requests, or that cannot be judged."""
    try:
        with Wire(path) as wire:
            if wire.size > MOST_BYTES:
                raise DamageError("it has more than 2 GiB, which no server reads")
            words = next(filter(None, map(_judged, _Reader(wire).graphs())), "")
    except DamageError as error:
        raise RefusalError(f"its saved_model.pb is damaged ({error})", EXPORT_AGAIN) from None
    if words:
        raise RefusalError(
            f"its answers are to be remembered, and {words}",
            _REMEDY,
            "cache",
        )


def _judged(graph: _Graph) -> str:
    """Return why answers may differ, or nothing."""
    for op in _reached(graph):
        for some, words in _WORDS:
            if op in some:
                return f"its graph {words} ({op.decode('ascii')})"
    return ""


def _reached(graph: _Graph) -> Iterator[bytes]:
    """Yield the telling ops that the outputs depend on."""
    seen: set[bytes] = set()
    # Tensors of signatures that name no node, as those of composite tensors, depend on whatever there is.
    known = graph.outputs and graph.outputs <= set(graph.main.inputs)
    waiting = list(graph.outputs if known else graph.main.inputs)
    called: list[bytes] = []
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in graph.main.found:
            yield graph.main.found[name]
        called += graph.main.calls.get(name, ())
        waiting += graph.main.inputs.get(name, ())
    yield from _of_functions(graph, called)


def _of_functions(graph: _Graph, called: list[bytes]) -> Iterator[bytes]:
    """Yield the telling ops of functions: all nodes of one that is called, as its state changes are nobody's inputs."""
    seen: set[bytes] = set()
    while called:
        name = called.pop()
        if name in seen or name not in graph.functions:
            continue
        seen.add(name)
        body = graph.functions[name]
        yield from body.found.values()
        called += (each for some in body.calls.values() for each in some)


class _Reader:
    """Reads one file, and counts what it keeps."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.nodes = self.links = 0

    def graphs(self) -> Iterator[_Graph]:
        for part in self._parts(None, 2):
            graph = _Graph()
            for each in self._parts(part, 2):
                self._graph(each, graph)
            for each in self._parts(part, 5):
                graph.outputs |= set(self._outputs(each))
            yield graph

    def _parts(self, of: Field | None, *numbers: int) -> Iterator[Field]:
        """Yield the parts at a path of field numbers."""
        fields = self.wire.fields(of.start, of.end) if of else self.wire.fields()
        for part in fields:
            if (part.number, part.kind) == (numbers[0], BYTES):
                yield from self._parts(part, *numbers[1:]) if numbers[1:] else (part,)

    def _text(self, of: Field) -> bytes:
        return self.wire.read(of._replace(end=min(of.end, of.start + _LONGEST)))

    def _outputs(self, of: Field) -> Iterator[bytes]:
        """Yield the nodes of a signature's outputs: map entry, SignatureDef.outputs, its entry, TensorInfo.name.

        What runs once, while the model loads, stands among the signatures too.
        """
        if any(self._text(key).startswith(_LOADING) for key in self._parts(of, 1)):
            return
        for name in self._parts(of, 2, 2, 2, 1):
            yield self._text(name).partition(b":")[0]

    def _graph(self, of: Field, graph: _Graph) -> None:
        for node in self._parts(of, 1):
            self._node(node, graph.main)
        for function in self._parts(of, 2, 1):
            body = _Body()
            for node in self._parts(function, 3):
                self._node(node, body)
            for name in self._parts(function, 1, 1):
                graph.functions[self._text(name)] = body

    def _node(self, of: Field, body: _Body) -> None:
        self.nodes += 1
        name = op = b""
        inputs: list[bytes] = []
        calls: list[bytes] = []
        for part in self.wire.fields(of.start, of.end):
            if part.kind != BYTES:
                continue
            if part.number == 1:
                name = self._text(part)
            elif part.number == 2:
                op = self._text(part)
            elif part.number == 3:
                inputs.append(self._text(part).lstrip(b"^").partition(b":")[0])
            elif part.number == 5:
                calls += self._functions(part)
        self.links += len(inputs) + len(calls)
        if self.nodes > MOST_NODES or self.links > MOST_LINKS:
            raise RefusalError(
                "its graph is too large to tell whether equal requests get equal answers", _REMEDY, "cache"
            )
        body.inputs[name] = inputs
        # A function may be called by an op of its own name.
        body.calls[name] = [*calls, op]
        if op in _FOUND:
            body.found[name] = op

    def _functions(self, attribute: Field) -> Iterator[bytes]:
        """Yield the functions that an attribute names: AttrValue.func, and those of AttrValue.list."""
        for path in ((2, 10, 1), (2, 1, 9, 1)):
            for name in self._parts(attribute, *path):
                yield self._text(name)
