# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes SavedModels with TensorFlow, and what its own classes read in them: ``write_saved_models.py RUNTIME OUT``.

A program of its own, because TensorFlow takes seconds to import and a gigabyte of memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.append(sys.argv[1])

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.training import py_checkpoint_reader

OUT = Path(sys.argv[2])
V1 = tf.compat.v1


class Variables(tf.Module):
    """Two signatures over two variables, one of them with a scalar and a tensor of unknown rank."""

    def __init__(self) -> None:
        self.scale = tf.Variable([2.0])
        self.table = tf.Variable(tf.zeros([1000, 10]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def rank(self, x):
        return {"y": x * self.scale}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="n"), tf.TensorSpec(None, tf.string, name="s")])
    def look(self, n, s):
        return {"rows": self.table[:2], "n": n, "s": s}


class Stateless(tf.Module):
    """No variable, and yet TensorFlow 2 writes a checkpoint: of the objects' graph."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def twice(self, x):
        return {"y": x * 2}


class Words(tf.Module):
    """A table out of an asset."""

    def __init__(self, path: Path) -> None:
        path.write_text("a\nb\n", encoding="utf-8")
        self.asset = tf.saved_model.Asset(str(path))
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                self.asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            -1,
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def find(self, word):
        return {"at": self.table.lookup(word)}


def save_frozen(path: Path, variable: bool) -> None:
    """Save a graph of TensorFlow 1, whose constants or old-fashioned variables are in it."""
    graph = tf.Graph()
    with graph.as_default(), V1.Session(graph=graph) as session:
        x = V1.placeholder(tf.float32, [None, 2], name="x")
        y = x * (V1.get_variable("v", [2], use_resource=False) if variable else tf.constant([1.0, 2.0]))
        session.run(V1.global_variables_initializer())
        V1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y})


def tensors(entries) -> dict[str, list]:
    """Return dtypes and shapes by name."""
    return {
        name: [
            types_pb2.DataType.Name(info.dtype),
            None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim],
        ]
        for name, info in entries.items()
    }


def read(path: Path) -> dict:
    """Return what TensorFlow itself reads."""
    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (graph,) = model.meta_graphs
    index = path / "variables" / "variables.index"
    variables = {}
    if index.exists():
        reader = py_checkpoint_reader.NewCheckpointReader(str(path / "variables" / "variables"))
        variables = reader.get_variable_to_shape_map()
    return {
        "tags": list(graph.meta_info_def.tags),
        "signatures": {
            name: [signature.method_name, tensors(signature.inputs), tensors(signature.outputs)]
            for name, signature in graph.signature_def.items()
        },
        "assets": [asset.filename for asset in graph.asset_file_def],
        "variables": sorted(set(variables) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}),
    }


def main() -> None:
    """Write them all."""
    model = Variables()
    tf.saved_model.save(model, str(OUT / "variables"), {"serving_default": model.rank, "look": model.look})
    stateless = Stateless()
    tf.saved_model.save(stateless, str(OUT / "stateless"), stateless.twice)
    words = Words(OUT / "words.txt")
    tf.saved_model.save(words, str(OUT / "words"), words.find)
    save_frozen(OUT / "frozen", variable=False)
    save_frozen(OUT / "variables-1", variable=True)
    found = {path.name: read(path) for path in sorted(OUT.iterdir()) if path.is_dir()}
    (OUT / "known.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
