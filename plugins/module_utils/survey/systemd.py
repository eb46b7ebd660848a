# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Units of systemd that run a server, or would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..diagnosis.command import Ask
from ..disk import plain_files
from ..host.sysfs import Tree
from ..visible_text import told
from . import processes, secrets

PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,MainPID,Restart,User,ExecStart,TimeoutStopUSec,FragmentPath,DropInPaths,"
    "UnitFileState,Type"
)
# Units in which sessions, timers and other service managers start what is no part of them.
NO_LAUNCHERS = re.compile(
    r"(?:cron|crond|cronie|anacron|atd|ssh|sshd|ssh@.*|sshd@.*|getty@.*|serial-getty@.*|docker|containerd|podman|supervisor|"
    r"supervisord|rc-local|rc|console-getty|systemd-.*|user@.*|libpod-conmon.*)\.service"
)
MOST_UNITS = 3000
# One question for some hundred units: a command line has its limits.
_AT_ONCE = 200
_MOST_BYTES = 64 << 10
_UNIT = re.compile(r"/([^/]+\.service)(?=/|\Z)")
_PATH = re.compile(r"(?:\A|\s)path=(\S+)")
_ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
# When a command last ran, and how it ended.
_RUNS = re.compile(r" ; start_time=.*?(?= })")
# What starts a server: its own program, or an image of it.
LAUNCHES = re.compile(
    r"tensorflow_model_server|tf_serving_entrypoint|tensorflow[-_/]+(?:model[-_])?serv(?:ing|er)", re.IGNORECASE
)


def unit_of(group: str) -> str | None:
    """Return the unit that a group belongs to; None where it is one in which sessions, or others, start things."""
    found = _UNIT.findall(group)
    return None if not found or any(map(NO_LAUNCHERS.fullmatch, found)) else str(found[-1])


def show(ask: Ask, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the properties of units by name. Raises RuntimeError if systemd does not answer."""
    found = {}
    for begin in range(0, len(names), _AT_ONCE):
        end = begin + _AT_ONCE
        some = names[begin:end]
        answer = ask(["systemctl", "show", f"--property={PROPERTIES}", "--", *some]) or ""
        for block in answer.strip().split("\n\n"):
            shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if "Id" in shown:
                found[shown["Id"]] = shown
    return found


def described(shown: Mapping[str, str]) -> dict[str, Any]:
    """Return what is to know of a unit, without secrets."""
    return {
        "Restart": told(shown.get("Restart", ""), 40),
        "User": told(shown.get("User", ""), 200) or "root",
        "ExecStart": command(shown),
        "TimeoutStopSec": told(shown.get("TimeoutStopUSec", ""), 60),
        "FragmentPath": told(shown.get("FragmentPath", ""), 1000),
        "DropInPaths": [told(path, 1000) for path in shown.get("DropInPaths", "").split()],
        "enabled": shown.get("UnitFileState") in ("enabled", "enabled-runtime"),
        "state": told(shown.get("ActiveState", ""), 40),
    }


def command(shown: Mapping[str, str]) -> str:
    """Return the first command of a unit without secrets: systemd shows its words without their quotes."""
    found = _ARGV.search(shown.get("ExecStart", ""))
    words: list[str] = []
    for word in secrets.words(found[1].split(" ")) if found else ():
        # What follows a secret may be the rest of it.
        if not words or secrets.HIDDEN not in words[-1] or word.startswith("-"):
            words.append(word)
    return " ".join(words)


def definition(shown: Mapping[str, str]) -> str:
    """Return all that a unit is defined by, as a text that is only ever compared."""
    texts = {name: shown.get(name, "") for name in ("ExecStart", "FragmentPath", "DropInPaths", "User", "Restart")}
    return "\n".join(f"{name}={_RUNS.sub('', text)}" for name, text in texts.items())


def launchers(tree: Tree, ask: Ask) -> list[dict[str, Any]]:
    """Return the units that do not run, and would start a server."""
    listed = (
        ask(["systemctl", "list-unit-files", "--type=service", "--no-legend", "--no-pager", "--plain", "--full"]) or ""
    )
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    # A template has no properties of its own, an alias those of another.
    names = [name for name in names if name.endswith(".service") and "@." not in name][:MOST_UNITS]
    found = show(ask, names)
    return [_launcher(tree, shown) for _name, shown in sorted(found.items()) if _would_serve(tree, shown)]


def _would_serve(tree: Tree, shown: Mapping[str, str]) -> bool:
    if shown.get("ActiveState") not in ("inactive", "failed") or shown.get("LoadState") != "loaded":
        return False
    return bool(LAUNCHES.search(shown.get("ExecStart", ""))) or any(
        LAUNCHES.search(script) for script in _scripts(tree, shown)
    )


def _scripts(tree: Tree, shown: Mapping[str, str]) -> Iterator[str]:
    """Yield the text of a script that a unit starts."""
    path = _PATH.search(shown.get("ExecStart", ""))
    if path:
        yield script(tree, path[1])


def script(tree: Tree, path: str) -> str:
    """Return the text of a script; nothing for a program, or what cannot be read."""
    try:
        content = plain_files.beginning(tree.path(path), _MOST_BYTES)
    except OSError:
        return ""
    return content.decode("utf-8", "replace") if content.startswith(b"#!") else ""


def _launcher(tree: Tree, shown: Mapping[str, str]) -> dict[str, Any]:
    text = command(shown)
    return {
        "kind": "systemd",
        "name": told(shown["Id"], 200),
        "unit": described(shown),
        "container": None,
        "supervisor": None,
        "argv": processes.server_words(_split(text)),
        "text": next((secrets.lines(each) for each in _scripts(tree, shown) if each), None),
    }


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
