# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Candidates that no gate may let through: ``spoil.py VERSION_DIR OUT COUNT`` writes OUT/0, OUT/1, ... COUNT of them.

Each loads and keeps its signatures. Its number is its seed: it decides the fault, how large it is, and where it is.
What `OUT/spoiled.json` says of each is for messages of tests, not for gates.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

FAULTS = ("scaled", "swapped", "nan")
# A scale below this many per cent may be what a sound conversion does to a number (bfloat16 has 8 bits: 0.4 %).
LEAST_SCALE, MOST_SCALE = 0.1, 2.0
GRAPH = "saved_model.pb"


class Spoiler:
    """Puts nodes between the outputs of a signature and what makes them."""

    def __init__(self, graph: Any, rng: np.random.Generator) -> None:
        self._graph = graph
        self._rng = rng
        self._count = 0

    def spoil(self, signature: Any, fault: str) -> str:
        """Spoil every number of a signature in the same way; return it in words."""
        words = []
        for name, tensor in sorted(signature.outputs.items()):
            if tensor.dtype == tf.float32.as_datatype_enum:
                words.append(f"{name}: {getattr(self, f'_{fault}')(tensor)}")
        return "; ".join(words)

    def _scaled(self, tensor: Any) -> str:
        scale = np.float32(1 + self._rng.choice([-1, 1]) * self._rng.uniform(LEAST_SCALE, 0.9))
        scale = scale if self._rng.random() < 0.5 else np.float32(self._rng.uniform(1 + LEAST_SCALE, MOST_SCALE))
        self._put(tensor, "Mul", [tensor.name, self._constant(scale)], {"T": tensor.dtype})
        return f"times {scale:.3f}"

    def _swapped(self, tensor: Any) -> str:
        """Swap two classes, or where there are none, turn the order of the rows' values about."""
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        if len(sizes) < 2 or sizes[-1] < 2:
            self._put(tensor, "Neg", [tensor.name], {"T": tensor.dtype})
            return "the order is turned about"
        first, second = self._rng.choice(sizes[-1], 2, replace=False)
        order = np.arange(sizes[-1], dtype=np.int32)
        order[[first, second]] = order[[second, first]]
        places, axis = self._constant(order), self._constant(np.int32(len(sizes) - 1))
        types = {"Tparams": tensor.dtype, "Tindices": tf.int32, "Taxis": tf.int32}
        self._put(tensor, "GatherV2", [tensor.name, places, axis], types)
        return f"classes {first} and {second} are swapped"

    def _nan(self, tensor: Any) -> str:
        """Make some values NaN: one class, or where there are none, all."""
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        holes = np.zeros(sizes[-1] if len(sizes) > 1 and sizes[-1] > 0 else 1, np.float32)
        place = int(self._rng.integers(len(holes)))
        holes[place] = np.nan
        self._put(tensor, "AddV2", [tensor.name, self._constant(holes)], {"T": tensor.dtype})
        return f"NaN at {place}"

    def _constant(self, value: Any) -> str:
        node = self._node("Const", [], {"dtype": tf.as_dtype(value.dtype)})
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        return f"{node.name}:0"

    def _put(self, tensor: Any, operation: str, inputs: list[str], types: dict[str, Any]) -> None:
        tensor.name = f"{self._node(operation, inputs, types).name}:0"

    def _node(self, operation: str, inputs: list[str], types: dict[str, Any]) -> Any:
        self._count += 1
        node = self._graph.graph_def.node.add(name=f"spoiled_{self._count}", op=operation, input=inputs)
        for name, dtype in types.items():
            node.attr[name].type = tf.as_dtype(dtype).as_datatype_enum
        return node


def spoil(version: Path, out: Path, seed: int) -> str:
    """Write a spoiled copy of a version; return in words what is wrong with it."""
    shutil.copytree(version, out)
    saved = saved_model_pb2.SavedModel.FromString((version / GRAPH).read_bytes())
    graph = saved.meta_graphs[0]
    # Python's loader would take the functions of the object, which are sound; servers never look at it.
    graph.ClearField("object_graph_def")
    spoiler, fault = Spoiler(graph, np.random.default_rng(seed)), FAULTS[seed % len(FAULTS)]
    told = [spoiler.spoil(each, fault) for name, each in sorted(graph.signature_def.items()) if name[:2] != "__"]
    (out / GRAPH).write_bytes(saved.SerializeToString(deterministic=True))
    return " | ".join(filter(None, told))


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    told = {str(seed): spoil(Path(sys.argv[1]), place / str(seed), seed) for seed in range(int(sys.argv[3]))}
    (place / "spoiled.json").write_text(json.dumps(told, indent=1) + "\n")
