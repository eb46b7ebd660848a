# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Exports the small models that the tests of the reference server need: make_models.py OUT_DIR (needs TensorFlow)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
import saving
from digits import Digits


class Plus(tf.Module):
    """y = x / 2 + N: the answer tells which version gave it."""

    def __init__(self, summand: float) -> None:
        super().__init__()
        self.summand = tf.Variable(summand)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x / 2.0 + self.summand}


class Busy(tf.Module):
    """Multiplies matrices `rounds` times: a request that takes as long as the test needs it to."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = tf.Variable(np.eye(256, dtype=np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def serve(self, rounds: tf.Tensor) -> dict[str, tf.Tensor]:
        limit, product = tf.reduce_max(rounds), tf.identity(self.matrix)
        for _ in tf.range(limit):
            product = tf.matmul(product, self.matrix)
        return {"done": tf.cast(rounds, tf.float32) * product[0, 0]}


class Echo(tf.Module):
    """Strings, integers and flags in, the same out; `text_bytes` asks for base64 by its name."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None], tf.int64, name="number"),
            tf.TensorSpec([None], tf.bool, name="flag"),
        ]
    )
    def serve(self, text: tf.Tensor, number: tf.Tensor, flag: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"text_bytes": text, "text": tf.strings.upper(text), "number": number, "flag": tf.logical_not(flag)}


class RowSum(tf.Module):
    """The sum of rows of any length."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(x, axis=1)}


class Types(tf.Module):
    """A signature for each kind of tensor that the two faces treat differently, and for what is no inference."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def strings(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": tf.cast(tf.strings.length(inputs), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def two_outputs(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        lengths = tf.cast(tf.strings.length(inputs), tf.float32)
        return {"outputs": lengths, "more": lengths + 1.0}

    @tf.function(input_signature=[])
    def constant(self) -> dict[str, tf.Tensor]:
        return {"y": tf.constant([1.0])}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="x")])
    def scalar_string(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.strings.upper(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="x")])
    def any_strings(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.strings.upper(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def to_strings(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.strings.as_string(x)}

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string, name="x")])
    def deep_strings(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reshape(x, [1] * 33)}


def signatures(model: Types) -> dict[str, tf.types.experimental.GenericFunction]:
    """Those above, and the identity of every type of numbers by the type's name."""
    names = "float32 float64 half bfloat16 int8 uint8 int16 uint16 int32 uint32 int64 uint64 complex64 bool qint8"
    others = "strings two_outputs constant scalar_string any_strings to_strings deep_strings"
    named = {name: getattr(model, name) for name in others.split()}
    named["serving_default"] = model.strings
    for name in names.split():
        spec = tf.TensorSpec(None, getattr(tf, name), name="x")
        named[name] = tf.function(lambda x: {"y": tf.identity(x)}).get_concrete_function(spec)
    return named


def frozen(directory: Path) -> None:
    """A graph of constants alone, written by the builder of TensorFlow 1: y = x x matrix + 1."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        y = tf.matmul(x, tf.constant([[0.5, 0.0], [0.0, 0.5]])) + 1.0
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for version in (1, 2, 3):
        tf.saved_model.save(Plus(float(version)), str(out / "plus" / str(version)))
    for name, model in {"busy": Busy(), "echo": Echo(), "rowsum": RowSum()}.items():
        tf.saved_model.save(model, str(out / name / "1"), signatures=model.serve)
    types = Types()
    tf.saved_model.save(types, str(out / "types" / "1"), signatures=signatures(types))
    frozen(out / "frozen" / "1")
    saving.build("digits", Digits, out, warmed_up=True)


if __name__ == "__main__":
    main()
