# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From a model to what the lab hands out: versions, archives, checksums, known answers."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

VERSIONS = (1, 2)
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def export(model, path: Path) -> None:
    """Write the model as a SavedModel whose signatures carry the method names of the serving APIs."""
    tf.saved_model.save(model, str(path), signatures=model.signatures())
    name_methods(path / "saved_model.pb", model.methods())


def name_methods(saved_model_file: Path, methods: dict[str, str]) -> None:
    """Native TF2 exports call every signature a predict one; servers may check that classify and regress are named."""
    saved_model = saved_model_pb2.SavedModel.FromString(saved_model_file.read_bytes())
    for signature, method in methods.items():
        saved_model.meta_graphs[0].signature_def[signature].method_name = f"tensorflow/serving/{method}"
    saved_model_file.write_bytes(saved_model.SerializeToString(deterministic=True))


def write_warmup(name: str, version_path: Path, inputs: dict[str, np.ndarray]) -> None:
    """Ship requests that the server replays before it calls the version available."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "serving_default"
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    target = version_path / WARMUP_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(target)) as writer:
        writer.write(log.SerializeToString())


def answer(version_path: Path, inputs: dict[str, np.ndarray]) -> list:
    """The predictions in row form, as the REST API gives them; from what was saved, as a server loads it."""
    loaded = tf.saved_model.load(str(version_path))
    outputs = {key: value.numpy() for key, value in loaded.signatures["serving_default"](**tensors(inputs)).items()}
    if len(outputs) == 1:
        return next(iter(outputs.values())).tolist()
    rows = len(next(iter(outputs.values())))
    return [{key: value[row].tolist() for key, value in sorted(outputs.items())} for row in range(rows)]


def tensors(inputs: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {key: tf.constant(value) for key, value in inputs.items()}


def instances(inputs: dict[str, np.ndarray]) -> list:
    """The rows of a request; a model with a single input takes plain rows."""
    if len(inputs) == 1:
        return next(iter(inputs.values())).tolist()
    rows = len(next(iter(inputs.values())))
    return [{key: value[row].tolist() for key, value in inputs.items()} for row in range(rows)]


def archive(version_path: Path, target: Path) -> str:
    """Pack a version reproducibly (sorted names, no times, no owners) and return the SHA-256 of the archive."""
    with (
        open(target, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(version_path.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(version_path)), recursive=False, filter=_anonymous)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def build_all(models: dict[str, type], out_dir: Path, warmed_up: tuple[str, ...] = ()) -> None:
    """Build every model, and write the checksums of all archives; `warmed_up` ship a warm-up file."""
    out_dir.mkdir(parents=True, exist_ok=True)
    tf.config.experimental.enable_op_determinism()
    checksums: dict[str, str] = {}
    for name, model_class in models.items():
        checksums.update(build(name, model_class, out_dir, name in warmed_up))
    (out_dir / "checksums.json").write_text(json.dumps(checksums, indent=1, sort_keys=True) + "\n")


def build(name: str, model_class: type, out_dir: Path, warmed_up: bool) -> dict[str, str]:
    """Train and export every version of one model; returns the checksums of its archives."""
    shutil.rmtree(out_dir / name, ignore_errors=True)
    checksums, answers = {}, {}
    for version in getattr(model_class, "VERSIONS", VERSIONS):
        started = time.monotonic()
        model = model_class(version)
        quality = model.train()
        version_path = out_dir / name / str(version)
        export(model, version_path)
        sample = model.sample()
        if warmed_up:
            write_warmup(name, version_path, sample)
        answers[str(version)] = {"predictions": answer(version_path, sample)}
        archive_name = f"{name}-{version}.tar.gz"
        checksums[archive_name] = archive(version_path, out_dir / archive_name)
        print(f"{name} version {version}: {quality}, {time.monotonic() - started:.1f} s", flush=True)
    known = {"request": {"instances": instances(sample)}, "answers": answers}
    (out_dir / name / "known_answers.json").write_text(json.dumps(known, indent=1) + "\n")
    return checksums
