# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue of faults as a page of the documentation."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from .faults import LAYERS, faults
from .finding import Fault
from .rank import EXPLAINS

_TITLES = {"resources": "Resources", "model": "Models and callers", "configuration": "Settings"}
_ISSUE = re.compile(r"([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)#([0-9]+)")
_HEAD = """# Faults that a diagnosis looks for

`playbooks/diagnose.yml` judges the evidence of each host by these faults, in this order: the machine first, then the
model and its callers, then settings. The page is made from the catalogue (`make docs`);
[diagnosis.md](diagnosis.md) says how to read a report.
"""


def page() -> str:
    """Return the text of docs/faults.md."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for layer in LAYERS:
        rows = [fault for fault in faults() if fault.layer == layer]
        yield f"## {_TITLES[layer]} ({len(rows)})\n"
        for fault in rows:
            yield from _fault(fault)


def _fault(fault: Fault) -> Iterator[str]:
    remedy = fault.remedy
    yield f"### `{fault.id}`: {fault.title}\n"
    yield f"{_sense(fault)}\n"
    yield _wrapped(f"- Seen by: {fault.observable}.")
    restart = "servers restart" if remedy.restart else "no restart"
    yield _wrapped(f"- Remedy (risk {remedy.risk}, {restart}): {remedy.text}")
    if fault.id in EXPLAINS:
        yield _wrapped(f"- Brings about, so that these are no causes beside it: {_ids(EXPLAINS[fault.id])}.")
    if fault.refs:
        yield _wrapped(f"- See {', '.join(map(_link, fault.refs))}.")
    yield f"\n```text\n{_wrapped(remedy.command)}\n```\n"


def _wrapped(text: str) -> str:
    """Return an item of a list, or a command, in lines."""
    return textwrap.fill(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _sense(fault: Fault) -> str:
    """Return the first line of the file of a fault, which says what it is."""
    module = inspect.getmodule(fault.judge)
    return (inspect.getdoc(module) or fault.title).split("\n", 1)[0]


def _ids(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _link(ref: str) -> str:
    issue = _ISSUE.fullmatch(ref)
    if issue:
        return f"[{ref}](https://github.com/{issue[1]}/issues/{issue[2]})"
    return f"<{ref}>" if re.fullmatch(r"https?://\S+", ref) else ref
