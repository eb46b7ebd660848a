# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The real message classes, so that text protos are parsed back by the same library as the server uses.

Most come from the packages tensorflow-serving-api and tensorflow. Those packages leave three messages out; they are
declared here as in TensorFlow Serving's session_bundle_config.proto, monitoring_config.proto and ssl_config.proto.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from repository import REPOSITORY

pytest.importorskip("google.protobuf", reason="needs the TensorFlow runtime in .cache/tensorflow")

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

RUNTIME = Path(os.environ.get("LAB_RUNTIME", REPOSITORY / ".cache" / "tensorflow"))

# Importing tensorflow.core.protobuf would import all of TensorFlow, which takes seconds and a gigabyte. A stand-in for
# the top package avoids that, and the child process keeps the stand-in away from other tests.
COLLECT = """
import sys, types
root = sys.argv[1]
sys.path.append(root)
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
sys.modules["tensorflow"].__path__ = [root + "/tensorflow"]
from google.protobuf import descriptor_pb2
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
from tensorflow_serving.config import model_server_config_pb2
files, seen = descriptor_pb2.FileDescriptorSet(), set()
def add(file):
    if file.name not in seen:
        seen.add(file.name)
        for needed in file.dependencies:
            add(needed)
        file.CopyToProto(files.file.add())
add(config_pb2.DESCRIPTOR)
add(model_server_config_pb2.DESCRIPTOR)
add(predict_pb2.DESCRIPTOR)
add(get_model_metadata_pb2.DESCRIPTOR)
sys.stdout.buffer.write(files.SerializeToString())
"""

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {"bool": FIELD.TYPE_BOOL, "int64": FIELD.TYPE_INT64, "string": FIELD.TYPE_STRING}

# message -> field -> (number, type)
DECLARED = {
    "BatchingParameters": {
        "max_batch_size": (1, ".google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, ".google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, ".google.protobuf.Int64Value"),
        "num_batch_threads": (4, ".google.protobuf.Int64Value"),
        "thread_pool_name": (5, ".google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, ".google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, ".google.protobuf.Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")},
    "SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
}

FULL_NAMES = {
    "ServableVersionPolicy": "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy",
}


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    command = [sys.executable, "-c", COLLECT, str(RUNTIME)]
    output = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(output).file
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    if wrappers_pb2.DESCRIPTOR.name not in {file.name for file in files}:
        pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_declared().SerializeToString())
    return pool


def _declared() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="declared.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in DECLARED.items():
        target = file.message_type.add(name=message)
        for name, (number, type_) in fields.items():
            repeated = type_.startswith("repeated ")
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            field = target.field.add(name=name, number=number, label=label)
            plain = type_[len("repeated ") :] if repeated else type_
            if plain in SCALARS:
                field.type = SCALARS[plain]
            else:
                field.type, field.type_name = FIELD.TYPE_MESSAGE, plain
    return file


def descriptor(message: str):
    """Return the descriptor of a message by the name that our tables give it."""
    outer, _, inner = message.partition(".")
    for full in (FULL_NAMES.get(outer, ""), f"tensorflow.serving.{outer}", f"tensorflow.{outer}"):
        try:
            return _pool().FindMessageTypeByName(f"{full}.{inner}" if inner else full)
        except KeyError:
            continue
    raise KeyError(message)


def message_class(message: str):
    """Return the class of a message by the name that our tables give it."""
    return message_factory.GetMessageClass(descriptor(message))
