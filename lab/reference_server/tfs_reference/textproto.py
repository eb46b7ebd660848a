# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text-format configuration files, read with the real protocol buffer library and so with its real strictness.

The wheel tensorflow-serving-api brings the classes of ModelServerConfig only. The other messages are described here
field by field and built at run time.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from tfs_reference import log
from tfs_reference.status import StatusError, invalid_argument, not_found

_PACKAGE = "tensorflow.serving"
_FieldType = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _FieldType.TYPE_BOOL,
    "string": _FieldType.TYPE_STRING,
    "int64": _FieldType.TYPE_INT64,
}
_WRAPPERS = ("BoolValue", "Int64Value", "StringValue")

# message -> field -> (number, type, repeated). Types that end in "Value" are google.protobuf wrappers, written
# `name { value: N }`. Only names, types and shapes matter in text format; the numbers are of no consequence.
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, "Int64Value", False),
        "batch_timeout_micros": (2, "Int64Value", False),
        "max_enqueued_batches": (3, "Int64Value", False),
        "num_batch_threads": (4, "Int64Value", False),
        "thread_pool_name": (5, "StringValue", False),
        "allowed_batch_sizes": (6, "int64", True),
        "pad_variable_length_inputs": (7, "bool", False),
        "enable_large_batch_splitting": (8, "BoolValue", False),
        "max_execution_batch_size": (9, "Int64Value", False),
    },
    "PrometheusConfig": {"enable": (1, "bool", False), "path": (2, "string", False)},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig", False)},
    "SSLConfig": {
        "server_key": (1, "string", False),
        "server_cert": (2, "string", False),
        "custom_ca": (3, "string", False),
        "client_verify": (4, "bool", False),
    },
}


def _build_classes() -> dict[str, type]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="tfs_reference/configs.proto", package=_PACKAGE, syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind, repeated) in fields.items():
            field = message.field.add(name=name, number=number)
            field.label = _FieldType.LABEL_REPEATED if repeated else _FieldType.LABEL_OPTIONAL
            field.type = _SCALARS.get(kind, _FieldType.TYPE_MESSAGE)
            if kind not in _SCALARS:
                field.type_name = f".google.protobuf.{kind}" if kind in _WRAPPERS else f".{_PACKAGE}.{kind}"
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _build_classes()


def new(message: str) -> Any:
    """An empty message of one of the kinds described here (or ModelServerConfig, ConfigProto)."""
    return _message_class(message)()


def _message_class(message: str) -> type:
    if message == "ModelServerConfig":
        from tensorflow_serving.config import model_server_config_pb2

        return model_server_config_pb2.ModelServerConfig
    if message == "ConfigProto":
        from tensorflow.core.protobuf import config_pb2

        return config_pb2.ConfigProto
    return _CLASSES[message]


def read(path: str, message: str) -> Any:
    """Parse a file; raises NOT_FOUND or INVALID_ARGUMENT, after a line on standard error that tells where and why.

    An empty file is refused before any parsing, because upstream maps the file into memory and an empty one cannot be.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise not_found(f"{path}; {os.strerror(error.errno)}") from None
    if not content:
        raise StatusError("INVALID_ARGUMENT", f"{path}; Invalid argument")
    target = new(message)
    try:
        return text_format.Parse(content, target)
    except (text_format.ParseError, ValueError, RecursionError) as error:
        log.error(f"Error parsing text-format {target.DESCRIPTOR.full_name}: {_explained(error, content)}")
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from None


def _explained(error: Exception, content: bytes) -> str:
    """LINE:COLUMN: what is wrong there. Never the line itself, which may hold a private key."""
    if isinstance(error, UnicodeDecodeError):
        line, column = content.count(b"\n", 0, error.start), error.start - (content.rfind(b"\n", 0, error.start) + 1)
        return f"{line + 1}:{column + 1}: String is not valid UTF-8."
    line = getattr(error, "GetLine", lambda: None)() or 1
    column = getattr(error, "GetColumn", lambda: None)() or 1
    if not isinstance(error, text_format.ParseError):
        return f"{line}:{column}: The file cannot be read as text."
    lines = content.decode(errors="replace").splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    reason = str(error).removeprefix(f"{line}:{column} : ").removeprefix(f"'{shown}': ")
    if reason.startswith("Message type"):
        line, column = _next_token(content.decode(errors="replace"), line, column)
    return f"{line}:{column}: {reason}"


_NAME = re.compile(r"\[[^\]]*\]|[\w.]+")
_BLANKS = re.compile(r"(?:\s|#[^\n]*)*")


def _next_token(text: str, line: int, column: int) -> tuple[int, int]:
    """Where the token after the name stands: upstream finds a name unknown only when it has read on."""
    start = sum(len(part) for part in text.splitlines(keepends=True)[: line - 1]) + column - 1
    name = _NAME.match(text, start)
    end = _BLANKS.match(text, name.end() if name else start).end()
    return text.count("\n", 0, end) + 1, end - (text.rfind("\n", 0, end) + 1) + 1
