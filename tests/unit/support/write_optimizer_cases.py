# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models, their candidates and the answers of both: ``write_optimizer_cases.py RUNTIME OUT [SIZE ...]``.

A program of its own, because TensorFlow takes seconds to import and a gigabyte of memory. It calls the optimizer's
parts as its confined process does, but all in one process. ``OUT/told.json`` has what surveys and refusals say.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "plugins" / "module_utils"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "lab" / "models"))
sys.path.append(sys.argv[1])

import numpy as np
import tensorflow as tf
from digits import Digits
from flatbuffers import flexbuffers
from optimizer import answers, compiled, files, freeze, tensorrt, trial
from optimizer import lite as tflite
from optimizer.runtime import FailureError
from optimizer.survey import survey
from ranker import Ranker
from ranker import requests as ranker_requests
from saving import name_methods, write_warmup
from spoil import spoil
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema

OUT = Path(sys.argv[2])
SIZES = [None, *(int(size) for size in sys.argv[3:])]
FREE = tf.TensorSpec([None, 4], tf.float32, name="x")
V1 = tf.compat.v1
RNG = np.random.default_rng(5)


class Words(tf.Module):
    """A table that is filled from an asset, whose path is a variable."""

    def __init__(self, asset: Path) -> None:
        index = tf.lookup.TextFileIndex
        asset.write_text("a\nb\nc\n")
        lines = (tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
        self.table = tf.lookup.StaticVocabularyTable(tf.lookup.TextFileInitializer(str(asset), *lines), 1)
        self.scores = tf.Variable([[1.0], [2.0], [3.0], [4.0]])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def serve(self, word):
        return {"score": tf.gather(self.scores, self.table.lookup(word))}


class Flow(tf.Module):
    """Branches, loops and a scalar."""

    def __init__(self) -> None:
        self.weight = tf.Variable(2.0)
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[FREE, tf.TensorSpec([], tf.float32, name="factor")])
    def serve(self, x, factor):
        y = tf.cond(factor > 1.0, lambda: x * self.weight, lambda: x + self.weight)
        return {"y": tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * self.weight), [0, y])[1] * factor}

    @tf.function(input_signature=[FREE])
    def count(self, x):
        self.calls.assign_add(1.0)
        return {"y": x + self.calls}

    @tf.function(input_signature=[FREE])
    def draw(self, x):
        return {"y": x + tf.random.normal(tf.shape(x)) * self.weight}

    @tf.function(input_signature=[FREE])
    def read(self, x):
        return {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)}

    @tf.function(input_signature=[FREE])
    def constant(self, x):
        return {"y": x * 2.0}


class Late(tf.Module):
    """A variable that a step at load sets, and a table that the same step fills."""

    def __init__(self, asset: Path) -> None:
        self.words = Words(asset)
        self.value = tf.Variable(1.0)
        self.start = Start(self.value)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def serve(self, word):
        return {"score": tf.cast(self.words.table.lookup(word), tf.float32) * self.value}


class Start(tf.saved_model.experimental.TrackableResource):
    def __init__(self, value: tf.Variable) -> None:
        super().__init__()
        self.value = value

    def _create_resource(self):
        return tf.constant(0)

    def _initialize(self) -> None:
        self.value.assign(3.0)


def save(name: str, module: Any, function: str = "serve") -> Path:
    signature = getattr(module, function).get_concrete_function()
    tf.saved_model.save(module, str(OUT / name), signatures={"serving_default": signature})
    return OUT / name


def save_of_tensorflow_1(name: str) -> Path:
    with tf.Graph().as_default(), V1.Session() as session:
        x = V1.placeholder(tf.float32, [None, 4], "x")
        old = V1.get_variable("old", [4, 2], use_resource=False)
        y = tf.identity(tf.matmul(x, old) + V1.get_variable("new", [2], use_resource=True), "y")
        session.run(V1.global_variables_initializer())
        V1.saved_model.simple_save(session, str(OUT / name), {"x": x}, {"y": y})
    return OUT / name


def save_lab_models() -> None:
    for name, model in (("digits", Digits(1)), ("ranker", Ranker(1))):
        model.train()
        tf.saved_model.save(model, str(OUT / name), signatures=model.signatures())
        name_methods(OUT / name / "saved_model.pb", model.methods())
    write_warmup("digits", OUT / "digits", Digits.sample())


def request(inputs: dict[str, np.ndarray], signature: str | None = None) -> dict[str, Any]:
    named = {"signature_name": signature} if signature else {}
    return {**named, "inputs": {name: array.tolist() for name, array in inputs.items()}}


def pictures(rows: int) -> np.ndarray:
    return (RNG.integers(0, 256, (rows, 784)) / 256).astype(np.float32)


def examples(rows: int, signature: str) -> dict[str, Any]:
    def text(row: np.ndarray) -> dict[str, str]:
        feature = tf.train.Feature(float_list=tf.train.FloatList(value=row))
        example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
        return {"b64": base64.b64encode(example.SerializeToString()).decode()}

    return {"signature_name": signature, "inputs": {"inputs": [text(row) for row in pictures(rows)]}}


def requests() -> dict[str, list[dict[str, Any]]]:
    rows = (1, 2, 7, 3)
    x = [RNG.standard_normal((count, 4)).astype(np.float32) for count in rows]
    of_digits = [request({"x": pictures(count)}) for count in rows]
    of_digits += [examples(count, name) for name in ("classify_digits", "regress_digits") for count in rows]
    return {
        "digits": of_digits,
        "ranker": [request(ranker_requests(RNG, count)) for count in rows],
        "words": [{"instances": ["a", "b"]}, {"instances": ["c", "none of them", "a"]}],
        "flow": [request({"x": each, "factor": np.float32(factor)}) for each, factor in zip(x, (2.0, 0.5, 1.0, 3.0))],
        "one": [request({"x": each}) for each in x],
        "bad": [
            {"inputs": {"x": [[1, 2, 3]]}},
            {"inputs": {"z": [[1, 2, 3, 4]]}},
            {"inputs": {"x": "text"}},
            {"inputs": {}},
            {"signature_name": "gone", "inputs": {}},
            {"instances": [[1, 2, 3, 4]], "inputs": {}},
            request({"x": x[1]}),
        ],
    }


# No models: by name, their files.
BROKEN = {
    "noise": {"saved_model.pb": b"\x08\xff\xff\xff" * 50},
    "text": {"saved_model.pbtxt": b""},
    "empty": {},
    "blank": {"saved_model.pb": b""},
}
TOLD: dict[str, str] = {}


def told(name: str, step: Callable[[], Any]) -> None:
    """Carry a step out, and note the sentence of its refusal, or nothing."""
    try:
        step()
        TOLD[name] = ""
    except FailureError as error:
        TOLD[name] = str(error)


def answer(model: str, of: str, recipe: dict[str, Any] | None = None) -> None:
    out = OUT / "answers" / model
    out.mkdir(parents=True)
    answers.answer(OUT / model, out, OUT / f"{of}.jsonl", SIZES, recipe)


def candidate(model: str, kind: str, of: str = "", **more: Any) -> None:
    """Build a candidate, and have it and its model answer."""
    name, recipe = f"{model}-{kind}", {"kind": kind, **more}
    (OUT / name).mkdir()
    steps = {
        "freeze": lambda: freeze.freeze(OUT / model, OUT / name),
        "xla": lambda: compiled.compile_signatures(OUT / model, OUT / name, survey(OUT / model)),
        "tflite_float": lambda: tflite.convert(OUT / model, OUT / name, more["signature"], quantised=False),
        "tflite_int8": lambda: tflite.convert(OUT / model, OUT / name, more["signature"], quantised=True),
        "mixed_precision": lambda: files.take_over(OUT / model, OUT / name, ()),
    }
    told(name, steps[kind])
    if not TOLD[name] and of:
        answer(name, of, recipe)


def lite_names(path: Path) -> dict[str, Any]:
    """Return what a server finds in a model.tflite: the SignatureDefs of its metadata, and the tensors' names."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    entry = next(each for each in model.metadata if each.name == b"signature_defs_metadata")
    held = flexbuffers.GetRoot(bytes(bytearray(model.buffers[entry.buffer].data))).AsMap
    texts = {key.AsKey: held[key.AsKey].AsStringBytes for key in held.Keys}
    found = {name: meta_graph_pb2.SignatureDef.FromString(text) for name, text in texts.items()}
    graph = model.subgraphs[0]
    sides = (graph.inputs, graph.outputs)
    return {
        "inputs": {name: {key: each.name for key, each in one.inputs.items()} for name, one in found.items()},
        "outputs": {name: {key: each.name for key, each in one.outputs.items()} for name, one in found.items()},
        "tensors": [sorted(graph.tensors[at].name.decode() for at in side) for side in sides],
        # The server's reader takes each text up to its first zero.
        "has_zero": any(b"\0" in text for text in texts.values()),
    }


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    save_lab_models()
    save("words", Words(OUT / "words.txt"))
    save("late", Late(OUT / "late.txt"))
    flow = Flow()
    save("flow", flow)
    for name in ("count", "draw", "read", "constant"):
        save(name, flow, name)
    save_of_tensorflow_1("one")
    for name, held in requests().items():
        (OUT / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in held))
    # The paths of assets must be those of the version that is loaded.
    for name in ("words.txt", "late.txt"):
        (OUT / name).unlink()
    for name in ("digits", "ranker", "words", "flow", "one"):
        answer(name, name)
        candidate(name, "freeze", name)
    answer("constant", "bad")
    for kind in ("xla", "mixed_precision"):
        candidate("digits", kind, "digits", how="attribute")
    for kind in ("tflite_float", "tflite_int8"):
        candidate("digits", kind, "digits", signature="serving_default")
    told("late-freeze", lambda: freeze.freeze(OUT / "late", OUT / "none"))
    told("one-xla", lambda: compiled.compile_signatures(OUT / "one", OUT / "none", survey(OUT / "one")))
    told("classify-tflite", lambda: tflite.convert(OUT / "digits", OUT / "none", "classify_digits", quantised=False))
    trt = {"kind": "tf_trt", "gpu": "NVIDIA A10", "precision": "FP16"}
    told("digits-tf_trt", lambda: tensorrt.convert(OUT / "digits", OUT / "none", trt))
    shutil.copytree(OUT / "words", OUT / "outside")
    pb = OUT / "outside" / "saved_model.pb"
    # As long as the name that stands there, so that no length changes.
    pb.write_bytes(pb.read_bytes().replace(b"\x12\x09words.txt", b"\x12\x09../passwd"))
    told("outside", lambda: survey(OUT / "outside"))
    told("words-run", lambda: trial.run_once(OUT / "words", ["serving_default"]))
    for name, content in BROKEN.items():
        (OUT / name).mkdir()
        for file, text in content.items():
            (OUT / name / file).write_bytes(text)
        told(name, lambda name=name: survey(OUT / name))
    (OUT / "empty" / "saved_model.pb").symlink_to("/etc/hostname")
    told("linked", lambda: survey(OUT / "empty"))
    for seed in range(3):
        spoil(OUT / "digits", OUT / f"spoiled-{seed}", seed)
        answer(f"spoiled-{seed}", "digits")
    names = ("digits", "words", "flow", "count", "draw", "read", "constant", "one", "digits-freeze")
    surveys = {name: survey(OUT / name) for name in names}
    lite = lite_names(OUT / "digits-tflite_int8" / "model.tflite")
    shutil.rmtree(OUT / "none", ignore_errors=True)
    (OUT / "told.json").write_text(json.dumps({"told": TOLD, "surveys": surveys, "lite": lite}))


if __name__ == "__main__":
    main()
