# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""YAML of an inventory in which text of hosts stays text.

Ansible evaluates templates in the values of an inventory, with the rights of whoever runs it: a model called
``{{ lookup('pipe', ...) }}`` would be a program. So text that Jinja would look at is marked ``!unsafe``, except what is
wrapped in ``Template`` here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

_TEMPLATE = re.compile(r"\{[{%#]|[}%#]\}")
WIDTH = 118
# A longer mapping gets lines of its own.
LONGEST = 90
Notes = Mapping[tuple[str, ...], str]


class Template(str):
    """A text that Ansible is to evaluate: written here, never by a host."""


class _Dumper(yaml.SafeDumper):
    """A dumper that marks what must not be evaluated."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write equal parts twice: people read the file."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if isinstance(value, Template) or not _TEMPLATE.search(value):
        style = '"' if isinstance(value, Template) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style=style)
    return dumper.represent_scalar("!unsafe", value, style='"')


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Template, _text)


def document(variables: Mapping[str, Any], notes: Notes, heading: str) -> str:
    """Return the variables as a file of an inventory.

    :param notes: comments by the path of what they stand above; a position in a list is a number as text.
    :param heading: what stands at the top of the file.
    """
    lines = ["---", *_comment(heading, 0)]
    for name, value in variables.items():
        lines += [*_noted(notes, (name,), 0), *_entry(name, value, notes, (name,), 0)]
    return "\n".join(lines) + "\n"


def _comment(text: str, depth: int) -> list[str]:
    lead = "  " * depth + "# "
    return textwrap.wrap(visible(text), WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)


def _noted(notes: Notes, path: tuple[str, ...], depth: int) -> list[str]:
    return _comment(notes[path], depth) if path in notes else []


def _entry(name: str, value: Any, notes: Notes, path: tuple[str, ...], depth: int) -> Iterator[str]:
    lead = "  " * depth
    key = _dumped(name)
    if isinstance(value, Mapping) and value and (_is_noted(notes, path) or len(_dumped(value)) > LONGEST):
        yield f"{lead}{key}:"
        yield from _mapping(value, notes, path, depth + 1)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        yield f"{lead}{key}:"
        for place, each in enumerate(value):
            yield from _item(each, notes, (*path, str(place)), depth + 1)
    else:
        yield f"{lead}{key}: {_dumped(value)}"


def _is_noted(notes: Notes, path: tuple[str, ...]) -> bool:
    """Return whether a mapping gets lines of its own: it has a comment inside, or stands at the top."""
    return len(path) == 1 or any(each[: len(path)] == path and len(each) > len(path) for each in notes)


def _mapping(value: Mapping[str, Any], notes: Notes, path: tuple[str, ...], depth: int) -> Iterator[str]:
    for key, each in value.items():
        yield from _noted(notes, (*path, str(key)), depth)
        yield from _entry(str(key), each, notes, (*path, str(key)), depth)


def _item(value: Any, notes: Notes, path: tuple[str, ...], depth: int) -> Iterator[str]:
    lead = "  " * depth
    if not isinstance(value, Mapping):
        yield f"{lead}- {_dumped(value)}"
        return
    lines = list(_mapping(value, notes, path, depth + 1))
    first = next(place for place, line in enumerate(lines) if not line.lstrip().startswith("#"))
    for place, line in enumerate(lines):
        yield f"{lead}- {line.lstrip()}" if place == first else line


def _dumped(value: Any) -> str:
    """Return a value on one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=False)
    return text.removesuffix("...\n").strip()
