#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Turns a survey of the server's source into the tables that the filters read.

The survey is a directory holding ``tfs_flags.yml`` (every flag of ``tensorflow_model_server``: name, type,
default, first release) and ``tfs_textproto.yml`` (every message of its text-format files: fields, types,
labels). The session's options (``tensorflow.ConfigProto`` and all below
it) come from the descriptors of a TensorFlow package, unpacked into a directory. Run it again when a new release was
surveyed::

    tools/generate_tables.py SURVEY .cache/tensorflow            # rewrites plugins/plugin_utils/tables
    tools/generate_tables.py SURVEY .cache/tensorflow --check    # only says what is out of date, by exit status 1

What cannot be extracted from the source (limits, wrong names and their answers) is kept by hand in
``flag_rules.yml`` beside the generated tables.
"""

from __future__ import annotations

import argparse
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).resolve().parents[1] / "plugins" / "plugin_utils" / "tables"

HEADER = """\
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# Written by tools/generate_tables.py from a survey of the server's source. Do not edit.
"""

FLAGS_HEADER = """\
# Sources: the flag list in TensorFlow Serving's model_servers/main.cc; types and defaults from Server::Options in
# model_servers/server.h and its constructor in server.cc, read at every tag under "surveyed".
#
# surveyed: the tags examined, and how many flags each has
# flags: in the order of main.cc
#   since       first examined tag that has the flag (the oldest tag stands for "then or earlier")
#   default     the server's own default; computed says how it is worked out when it depends on the host
#   unless      the flag has no effect once that other flag is set
"""

MESSAGES_HEADER = """\
# Sources: TensorFlow Serving's config/*.proto and servables/tensorflow/session_bundle_config.proto, tags 2.8.0 to
# 2.20.0, in all of which these fields are the same; ConfigProto and all below it, whole, from the descriptors of
# TensorFlow 2.21.0. The newest of its fields are unknown to older servers, which refuse the file and log the field.
#
# messages: fields in the order they are written
#   type        as in the .proto file; Int64Value, StringValue and BoolValue are google.protobuf wrappers
#   oneof       at most one of the fields that share this name may be set
# enums: the names of the values that users may write
"""

LINE_CHARS = 100

FLAG_MESSAGES = ("ModelServerConfig", "BatchingParameters", "MonitoringConfig", "SSLConfig")

# Types of fields by their number in descriptor.proto.
SCALARS = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes", 13: "uint32",
}  # fmt: skip


def flags_table(survey: dict[str, Any]) -> dict[str, Any]:
    """Return the table of flags: releases with their counts, and one row for each flag."""
    counts = {tag: count for tag, count in survey["meta"]["flag_count"].items() if tag != "HEAD"}
    oldest = next(iter(counts))
    return {"surveyed": counts, "flags": [_flag_row(flag, oldest) for flag in survey["flags"]]}


def _flag_row(flag: dict[str, Any], oldest: str) -> dict[str, Any]:
    row = {"name": flag["name"], "type": flag["type"], "since": flag["since"]}
    row["since"] = oldest if flag["since"].startswith("<=") else flag["since"]
    row.update(_default(flag["default"]))
    if "unit" in flag:
        row["unit"] = flag["unit"].split(" ")[0] if flag["unit"].startswith("fraction") else flag["unit"]
    if flag["ignored_with_platform_config_file"]:
        row["unless"] = "platform_config_file"
    return row


def _default(value: Any) -> dict[str, Any]:
    computed = re.fullmatch(r"(.*) \(computed\)", value) if isinstance(value, str) else None
    return {"default": None, "computed": computed[1]} if computed else {"default": value}


def messages_table(survey: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
    """Return the table of messages reachable from the files that the server's flags name, and their enums.

    :param session: what ``session_table`` returns.
    """
    messages: dict[str, list[dict[str, Any]]] = {}
    enums: dict[str, list[str]] = {}
    for root in FLAG_MESSAGES:
        _add_message(root, survey["messages"], messages, enums)
    return {"messages": {**messages, **session["messages"]}, "enums": {**enums, **session["enums"]}}


def session_table(descriptor: Any) -> dict[str, Any]:
    """Return the messages and enums reachable from the descriptor of ``tensorflow.ConfigProto``, itself first."""
    found: dict[str, Any] = {"messages": {}, "enums": {}}
    _add_descriptor(descriptor, found)
    return found


def _add_descriptor(descriptor: Any, found: dict[str, Any]) -> None:
    rows = found["messages"][_short(descriptor)] = []
    for field in descriptor.fields:
        rows.append(_descriptor_row(field))
        inner = field
        if field.message_type and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
        if inner.enum_type:
            found["enums"][_short(inner.enum_type)] = [value.name for value in inner.enum_type.values]
        if inner.message_type and _short(inner.message_type) not in found["messages"]:
            _add_descriptor(inner.message_type, found)


def _short(descriptor: Any) -> str:
    return descriptor.full_name.split(".", 1)[1]  # without the package, tensorflow


def _descriptor_row(field: Any) -> dict[str, Any]:
    kind = _descriptor_type(field)
    row = {"name": field.name, "type": f"repeated {kind}" if field.is_repeated and "map<" not in kind else kind}
    oneof = field.containing_oneof
    return {**row, "oneof": oneof.name} if oneof and oneof.name != f"_{field.name}" else row


def _descriptor_type(field: Any) -> str:
    if field.enum_type:
        return _short(field.enum_type)
    if not field.message_type:
        return SCALARS[field.type]
    if not field.message_type.GetOptions().map_entry:
        return _short(field.message_type)
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    return f"map<{_descriptor_type(key)}, {_descriptor_type(value)}>"


def read_descriptor(runtime: Path) -> Any:
    """Return the descriptor of ``tensorflow.ConfigProto`` out of an unpacked wheel, without importing TensorFlow."""
    sys.path.append(str(runtime))
    package = sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    package.__path__ = [str(runtime / "tensorflow")]
    from tensorflow.core.protobuf import config_pb2

    return config_pb2.ConfigProto.DESCRIPTOR


# Nothing below these types can be used with the released server, so their fields are not carried along.
UNUSABLE = ("LoggingConfig", "google.protobuf.Any")


def _add_message(name: str, source: dict[str, Any], messages: dict[str, Any], enums: dict[str, Any]) -> None:
    rows = messages[name] = []
    for field in source[name]["fields"]:
        kind = re.sub(r" \((wrapped|plain)\)$", "", field["type"])
        inline = re.fullmatch(r"(?:empty message|message \{(.*)\})", kind)
        if inline:
            kind = f"{name}.{field['name'].capitalize()}"
            messages[kind] = list(_inline_fields(inline[1] or ""))
        elif kind.startswith("enum "):
            kind = kind[len("enum ") :]
            enums[kind] = field["values"]
        row = {"name": field["name"], "type": kind}
        oneof = field.get("oneof") or source[name].get("oneof")
        rows.append({**row, "oneof": oneof} if oneof else row)
        inner = kind.split(" ")[-1]
        if inner in source and inner not in UNUSABLE and inner not in messages:
            _add_message(inner, source, messages, enums)


def _inline_fields(text: str) -> Iterator[dict[str, str]]:
    for name, kind in re.findall(r"(\w+): ((?:repeated )?\w+)", text):
        yield {"name": name, "type": kind}


def flags_text(table: dict[str, Any]) -> str:
    """Write the table of flags as YAML, one row a line."""
    surveyed = "\n".join(f'  "{tag}": {count}' for tag, count in table["surveyed"].items())
    return f"{HEADER}{FLAGS_HEADER}---\nsurveyed:\n{surveyed}\nflags:\n{_rows(table['flags'], '  ')}"


def messages_text(table: dict[str, Any]) -> str:
    """Write the table of messages as YAML, one field a line."""
    blocks = []
    for name, fields in table["messages"].items():
        blocks.append(f"  {name}:\n{_rows(fields, '    ')}" if fields else f"  {name}: []\n")
    enums = "".join(_folded(name, values) for name, values in table["enums"].items())
    return f"{HEADER}{MESSAGES_HEADER}---\nmessages:\n{''.join(blocks)}enums:\n{enums}"


def _rows(rows: list[dict[str, Any]], indent: str) -> str:
    return "".join(f"{indent}- {_flow(row)}\n" for row in rows)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _folded(name: str, values: list[str]) -> str:
    """Write a named list over as many lines as it needs, each below the first value."""
    start = f"  {name}: "
    text = yaml.safe_dump(values, default_flow_style=True, width=LINE_CHARS).strip()
    first, *others = text.splitlines()
    return "".join([f"{start}{first}\n", *(f"{' ' * (len(start) + 1)}{line.strip()}\n" for line in others)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("survey", type=Path, help="directory with tfs_flags.yml and tfs_textproto.yml")
    parser.add_argument("runtime", type=Path, help="directory with the unpacked packages tensorflow and protobuf")
    parser.add_argument("--output", type=Path, default=TABLES, help="directory to write to (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a table would change")
    return parser.parse_args()


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main() -> int:
    """Write or check both tables; the exit status is 1 when a check finds one out of date."""
    options = _arguments()
    texts = {
        "server_flags.yml": flags_text(flags_table(_read(options.survey / "tfs_flags.yml"))),
        "messages.yml": messages_text(
            messages_table(_read(options.survey / "tfs_textproto.yml"), session_table(read_descriptor(options.runtime)))
        ),
    }
    stale = [name for name, text in texts.items() if not _is(options.output / name, text)]
    for name in stale:
        if not options.check:
            (options.output / name).write_text(texts[name], encoding="utf-8")
        print(f"{name}: {'out of date' if options.check else 'written'}")
    return 1 if options.check and stale else 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
