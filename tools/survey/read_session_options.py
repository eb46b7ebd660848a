#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes session_options.yml beside this file from the descriptors of an unpacked TensorFlow package.

    tools/survey/read_session_options.py .cache/tensorflow

TensorFlow itself is not imported, which would take seconds and a gigabyte.
"""

from __future__ import annotations

import argparse
import re
import sys
import types
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

from generate_tables import SURVEY, messages_body

HEADER = """\
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# tensorflow.ConfigProto and all below it, whole: what tensorflow_session_config_file may hold.
# Written by tools/survey/read_session_options.py from the descriptors of a TensorFlow package. Do not edit.
---
"""

# Types of fields by their number in descriptor.proto.
SCALARS = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes", 13: "uint32",
}  # fmt: skip


def session_table(descriptor: Any) -> dict[str, Any]:
    """Return the messages and enums reachable from the descriptor of ``tensorflow.ConfigProto``, itself first."""
    found: dict[str, Any] = {"messages": {}, "enums": {}}
    _add_descriptor(descriptor, found)
    return found


def _add_descriptor(descriptor: Any, found: dict[str, Any]) -> None:
    rows = found["messages"][_short(descriptor)] = []
    for field in descriptor.fields:
        rows.append(_row(field))
        inner = field
        if field.message_type and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
        if inner.enum_type:
            found["enums"][_short(inner.enum_type)] = [value.name for value in inner.enum_type.values]
        if inner.message_type and _short(inner.message_type) not in found["messages"]:
            _add_descriptor(inner.message_type, found)


def _short(descriptor: Any) -> str:
    return descriptor.full_name.split(".", 1)[1]  # without the package, tensorflow


def _row(field: Any) -> dict[str, Any]:
    kind = _type(field)
    row = {"name": field.name, "type": f"repeated {kind}" if field.is_repeated and "map<" not in kind else kind}
    oneof = field.containing_oneof
    return {**row, "oneof": oneof.name} if oneof and oneof.name != f"_{field.name}" else row


def _type(field: Any) -> str:
    if field.enum_type:
        return _short(field.enum_type)
    if not field.message_type:
        return SCALARS[field.type]
    if not field.message_type.GetOptions().map_entry:
        return _short(field.message_type)
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    return f"map<{_type(key)}, {_type(value)}>"


def read_descriptor(runtime: Path) -> Any:
    """Return the descriptor of ``tensorflow.ConfigProto`` out of an unpacked wheel, without importing TensorFlow."""
    sys.path.append(str(runtime))
    package = sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    package.__path__ = [str(runtime / "tensorflow")]
    from tensorflow.core.protobuf import config_pb2

    return config_pb2.ConfigProto.DESCRIPTOR


def source(runtime: Path) -> str:
    """Return which TensorFlow was unpacked there, by the name of its metadata."""
    names = [path.name for path in sorted(runtime.glob("tensorflow*.dist-info"))]
    found = [re.fullmatch(r"tensorflow(?:_cpu)?-([0-9.]+)\.dist-info", name) for name in names]
    versions = [match[1] for match in found if match]
    if len(versions) != 1:
        raise SystemExit(f"{runtime} holds {len(versions)} TensorFlow packages, and one is needed")
    return f"TensorFlow {versions[0]}"


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runtime", type=Path, help="directory with the unpacked packages tensorflow and protobuf")
    runtime = parser.parse_args().runtime
    table = session_table(read_descriptor(runtime))
    text = f"{HEADER}source: {source(runtime)}\n{messages_body(table)}"
    (SURVEY / "session_options.yml").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
