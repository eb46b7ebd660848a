#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Turns a survey of the server's source into the tables that the filters read.

The survey is a directory holding ``tfs_flags.yml`` (every flag of ``tensorflow_model_server``: name, type,
default, first release) and ``tfs_textproto.yml`` (every message of its text-format files: fields, types,
labels). Run it again when a new release was surveyed::

    tools/generate_tables.py SURVEY            # rewrites plugins/module_utils/tables
    tools/generate_tables.py SURVEY --check    # only says whether the tables are up to date; exit status 1 if not

What cannot be extracted from the source (limits, wrong names and their answers) is kept by hand in
``flag_rules.yml`` beside the generated tables.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).resolve().parents[1] / "plugins" / "module_utils" / "tables"

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
# Sources: TensorFlow Serving's config/*.proto and servables/tensorflow/session_bundle_config.proto, and TensorFlow's
# core/protobuf/config.proto and rewriter_config.proto, tags 2.8.0 to 2.20.0. The fields kept here are the same in all
# of these tags.
#
# messages: fields in the order they are written
#   type        as in the .proto file; Int64Value, StringValue and BoolValue are google.protobuf wrappers
#   oneof       at most one of the fields that share this name may be set
# enums: the names of the values that users may write
"""

FLAG_MESSAGES = ("ModelServerConfig", "BatchingParameters", "MonitoringConfig", "SSLConfig")

# The part of tensorflow.ConfigProto that is useful in a server and that every surveyed release understands; a field
# unknown to the release makes the server refuse the whole file, so newer fields are left out (in RewriterConfig those
# numbered above 24, which came one by one). The survey names only the four most useful fields; the rest was read from
# config.proto and rewriter_config.proto.
SESSION_MESSAGES: dict[str, dict[str, str]] = {
    "ConfigProto": {
        "device_count": "map<string, int32>",
        "intra_op_parallelism_threads": "int32",
        "inter_op_parallelism_threads": "int32",
        "use_per_session_threads": "bool",
        "session_inter_op_thread_pool": "repeated ThreadPoolOptionProto",
        "gpu_options": "GPUOptions",
        "allow_soft_placement": "bool",
        "log_device_placement": "bool",
        "graph_options": "GraphOptions",
        "operation_timeout_in_ms": "int64",
        "isolate_session_state": "bool",
    },
    "ThreadPoolOptionProto": {"num_threads": "int32", "global_name": "string"},
    "GPUOptions": {
        "per_process_gpu_memory_fraction": "double",
        "allow_growth": "bool",
        "allocator_type": "string",
        "deferred_deletion_bytes": "int64",
        "visible_device_list": "string",
        "polling_active_delay_usecs": "int32",
        "polling_inactive_delay_msecs": "int32",
        "force_gpu_compatible": "bool",
    },
    "GraphOptions": {
        "optimizer_options": "OptimizerOptions",
        "infer_shapes": "bool",
        "place_pruned_graph": "bool",
        "enable_bfloat16_sendrecv": "bool",
        "rewrite_options": "RewriterConfig",
    },
    "OptimizerOptions": {
        "do_common_subexpression_elimination": "bool",
        "do_constant_folding": "bool",
        "max_folded_constant_in_bytes": "int64",
        "do_function_inlining": "bool",
        "opt_level": "Level",
        "global_jit_level": "GlobalJitLevel",
    },
    "RewriterConfig": {
        "layout_optimizer": "Toggle",
        "constant_folding": "Toggle",
        "shape_optimization": "Toggle",
        "remapping": "Toggle",
        "common_subgraph_elimination": "Toggle",
        "arithmetic_optimization": "Toggle",
        "dependency_optimization": "Toggle",
        "loop_optimization": "Toggle",
        "function_optimization": "Toggle",
        "debug_stripper": "Toggle",
        "disable_model_pruning": "bool",
        "scoped_allocator_optimization": "Toggle",
        "pin_to_host_optimization": "Toggle",
        "implementation_selector": "Toggle",
        "auto_mixed_precision": "Toggle",
        "disable_meta_optimizer": "bool",
    },
}
SESSION_ENUMS = {
    "Level": ["L1", "L0"],
    "GlobalJitLevel": ["DEFAULT", "OFF", "ON_1", "ON_2"],
    "Toggle": ["DEFAULT", "ON", "OFF", "AGGRESSIVE"],
}


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


def messages_table(survey: dict[str, Any]) -> dict[str, Any]:
    """Return the table of messages reachable from the files that the server's flags name, and their enums."""
    messages: dict[str, list[dict[str, Any]]] = {}
    enums: dict[str, list[str]] = {}
    for root in FLAG_MESSAGES:
        _add_message(root, survey["messages"], messages, enums)
    for name, fields in SESSION_MESSAGES.items():
        messages[name] = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"messages": messages, "enums": {**enums, **SESSION_ENUMS}}


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
    enums = "".join(f"  {name}: {_flow(values)}\n" for name, values in table["enums"].items())
    return f"{HEADER}{MESSAGES_HEADER}---\nmessages:\n{''.join(blocks)}enums:\n{enums}"


def _rows(rows: list[dict[str, Any]], indent: str) -> str:
    return "".join(f"{indent}- {_flow(row)}\n" for row in rows)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("survey", type=Path, help="directory with tfs_flags.yml and tfs_textproto.yml")
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
        "messages.yml": messages_text(messages_table(_read(options.survey / "tfs_textproto.yml"))),
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
