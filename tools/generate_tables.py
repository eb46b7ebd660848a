#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Turns the survey of the server's source into the tables that the filters read.

The survey is tools/survey/: ``flags.yml`` (every flag of ``tensorflow_model_server``, and the release it came with),
``text_protos.yml`` (the messages of its text-format files) and ``session_options.yml`` (``tensorflow.ConfigProto`` and
all below it). tools/survey/README.md says how to survey a new release. After that::

    make tables                         # rewrites the tables
    tools/generate_tables.py --check    # only says what is out of date, by exit status 1; part of `make lint`

What cannot be extracted from the source (limits, wrong names and their answers) is kept by hand in
``flag_rules.yml`` beside the generated tables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SURVEY = ROOT / "tools" / "survey"
TABLES = ROOT / "plugins" / "plugin_utils" / "tables"

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
# Sources: TensorFlow Serving's config/*.proto and servables/tensorflow/session_bundle_config.proto, whose fields are
# the same at every tag that server_flags.yml lists; ConfigProto and all below it, whole, from the descriptors of
# {session}. The newest of its fields are unknown to older servers, which refuse the file and log the field.
#
# messages: fields in the order they are written
#   type        as in the .proto file; Int64Value, StringValue and BoolValue are google.protobuf wrappers
#   oneof       at most one of the fields that share this name may be set
# enums: the names of the values that users may write
"""

LINE_CHARS = 100


class SurveyError(Exception):
    """The survey contradicts itself; the text says where."""


def flags_table(survey: dict[str, Any]) -> dict[str, Any]:
    """Return the table of flags: releases with their counts, and one row for each flag."""
    releases = survey["releases"]
    oldest = next(iter(releases))
    since = {name: tag for tag, release in releases.items() for name in release.get("new", [])}
    flags = [_flag_row(flag, since.get(flag["name"], oldest)) for flag in survey["flags"]]
    _refuse_contradictions(releases, since, [flag["name"] for flag in survey["flags"]])
    return {"surveyed": {tag: release["flags"] for tag, release in releases.items()}, "flags": flags}


def _flag_row(flag: dict[str, Any], since: str) -> dict[str, Any]:
    given = dict(flag)
    row = {"name": given.pop("name"), "type": given.pop("type"), "since": since, "default": given.pop("default", None)}
    return {**row, **given}


def _refuse_contradictions(releases: dict[str, Any], since: dict[str, str], names: list[str]) -> None:
    """Refuse a count that is not that of the flags up to its release, and new flags that nothing describes."""
    unknown = since.keys() - set(names)
    if unknown:
        raise SurveyError(f"flags.yml: {', '.join(sorted(unknown))} is new in a release, and not in flags")
    there = len(names) - len(since)
    for tag, release in releases.items():
        there += len(release.get("new", []))
        if there != release["flags"]:
            raise SurveyError(f"flags.yml: {tag} has {release['flags']} flags, and {there} are described")


def messages_table(survey: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
    """Return the table of messages and their enums: those of the server, then those of a session's options."""
    return {part: {**survey[part], **session[part]} for part in ("messages", "enums")}


def flags_text(table: dict[str, Any]) -> str:
    """Write the table of flags as YAML, one row a line."""
    surveyed = "\n".join(f'  "{tag}": {count}' for tag, count in table["surveyed"].items())
    return f"{HEADER}{FLAGS_HEADER}---\nsurveyed:\n{surveyed}\nflags:\n{_rows(table['flags'], '  ')}"


def messages_text(table: dict[str, Any], header: str) -> str:
    """Write the table of messages as YAML, one field a line."""
    return f"{HEADER}{header}---\n{messages_body(table)}"


def messages_body(table: dict[str, Any]) -> str:
    """Write messages and enums as YAML, without a header."""
    blocks = []
    for name, fields in table["messages"].items():
        blocks.append(f"  {name}:\n{_rows(fields, '    ')}" if fields else f"  {name}: []\n")
    enums = "".join(_folded(name, values) for name, values in table["enums"].items())
    return f"messages:\n{''.join(blocks)}enums:\n{enums}"


def _rows(table: list[dict[str, Any]], indent: str) -> str:
    """Write the rows of a table, one a line."""
    return "".join(f"{indent}- {_flow(row)}\n" for row in table)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()


def _folded(name: str, values: list[str]) -> str:
    """Write a named list over as many lines as it needs, each below the first value."""
    start = f"  {name}: "
    text = yaml.safe_dump(values, default_flow_style=True, width=LINE_CHARS).strip()
    first, *others = text.splitlines()
    return "".join([f"{start}{first}\n", *(f"{' ' * (len(start) + 1)}{line.strip()}\n" for line in others)])


def texts(survey: Path) -> dict[str, str]:
    """Return the text of each table by the name of its file, from the directory of the survey."""
    flags, serving, session = (_read(survey / f"{name}.yml") for name in ("flags", "text_protos", "session_options"))
    header = MESSAGES_HEADER.format(session=session["source"])
    return {
        "server_flags.yml": flags_text(flags_table(flags)),
        "messages.yml": messages_text(messages_table(serving, session), header),
    }


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=TABLES, help="directory to write to (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a table would change")
    return parser.parse_args()


def main() -> int:
    """Write or check both tables; the exit status is 1 when a check finds one out of date."""
    options = _arguments()
    tables = texts(SURVEY)
    stale = [name for name, text in tables.items() if not _is(options.output / name, text)]
    for name in stale:
        if not options.check:
            (options.output / name).write_text(tables[name], encoding="utf-8")
        print(f"{name}: {'out of date, run make tables' if options.check else 'written'}")
    return 1 if options.check and stale else 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
