# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs of supervisord that run a server, or would: its files say what, and supervisorctl what runs."""

from __future__ import annotations

import configparser
import glob
import os
import posixpath
import re
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, NamedTuple

from ..diagnosis import command
from ..diagnosis.command import Ended
from ..disk import plain_files
from ..host.sysfs import Tree
from ..visible_text import told
from . import processes, secrets, systemd
from .inside import Inside

# Where supervisord looks by itself (supervisor/options.py), and where Debian's package has it.
PLACES = (
    "/etc/supervisor/supervisord.conf",
    "/etc/supervisord.conf",
    "/usr/etc/supervisord.conf",
    "/usr/local/etc/supervisord.conf",
    "/opt/supervisor/supervisord.conf",
)
MOST_FILES = 200
_MOST_BYTES = 256 << 10
_STATUS = re.compile(r"^(?P<name>\S+)\s+(?P<state>[A-Z]+)\b(?:\s+pid (?P<pid>\d+),)?", re.MULTILINE)
_DAEMON = "supervisord"

Run = Callable[[list[str]], Ended]
# A host whose servers have all of its CPUs takes its time; one that is well answers at once.
RUN: Run = partial(command.run, seconds=15.0)


class Program(NamedTuple):
    """A program, as its section of a file has it."""

    name: str
    file: str
    options: Mapping[str, str]

    @property
    def command(self) -> str:
        return self.options.get("command", "")


def daemon_of(tree: Tree, pid: int) -> int | None:
    """Return the process of the supervisord that a process was started by."""
    return next((above for above in processes.ancestors(tree, pid) if _is_daemon(tree, above)), None)


def _is_daemon(tree: Tree, pid: int) -> bool:
    return any(os.path.basename(word) == _DAEMON for word in processes.argv(tree, pid)[:4])


def configuration(tree: Tree, daemon: int | None) -> str | None:
    """Return the file that a supervisord was started with, or that it finds by itself; None if there is none."""
    words = processes.argv(tree, daemon) if daemon else []
    for place, word in enumerate(words):
        if word in ("-c", "--configuration") and place + 1 < len(words):
            return Inside(tree, daemon or 1).absolute(words[place + 1])
        if word.startswith("--configuration="):
            return Inside(tree, daemon or 1).absolute(word.partition("=")[2])
    return next((path for path in PLACES if tree.exists(path)), None)


def programs(tree: Tree, path: str) -> list[Program]:
    """Return the programs of a configuration. Raises OSError and ValueError if it cannot be read."""
    first = _read(tree, path)
    files = [path]
    for pattern in first.get("include", "files", fallback="").split():
        whole = posixpath.join(posixpath.dirname(path), pattern)
        files += ["/" + os.path.relpath(each, tree.root) for each in sorted(glob.glob(tree.path(whole)))]
    found = []
    for each in files[:MOST_FILES]:
        parser = first if each == path else _read(tree, each)
        for section in parser.sections():
            kind, _colon, name = section.partition(":")
            if kind == "program" and name:
                found.append(Program(name.strip(), each, dict(parser[section])))
    return found


def _read(tree: Tree, path: str) -> configparser.RawConfigParser:
    # As supervisord reads them (supervisor/options.py, UnhosedConfigParser).
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(plain_files.read(tree.path(path), _MOST_BYTES).decode("utf-8", "replace"))
    except configparser.Error:
        # Its message holds the line, which may hold a secret.
        raise ValueError(f"{path} is no configuration of supervisord") from None
    return parser


def status(run: Run, tree: Tree, path: str) -> dict[str, tuple[str, int]]:
    """Return state and process of each program, by its name. Raises RuntimeError if supervisord does not answer.

    supervisorctl ends with 3 if a program does not run, and its answer is whole all the same.
    """
    require_trusted(tree, path)
    ended = run(["supervisorctl", "-c", path, "status"])
    if ended is None:
        raise RuntimeError("supervisorctl is not installed")
    code, answer, remarks = ended
    found = {row["name"]: (row["state"], int(row["pid"] or 0)) for row in _STATUS.finditer(answer)}
    if code not in (0, 3) or (not found and answer.strip()):
        raise RuntimeError(f"supervisord does not answer: {told(' '.join((answer + remarks).split()), 200)}")
    return found


def require_trusted(tree: Tree, path: str) -> None:
    """Raise RuntimeError for a configuration that others may write: supervisorctl runs whatever plugins it names."""
    found = os.stat(tree.path(path))
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise RuntimeError(f"{path} may be written by others than root, so supervisorctl is not run with it")


def described(program: Program, state: str, path: str) -> dict[str, Any]:
    """Return what is to know of a program, without secrets and without the values of its environment."""
    options = program.options
    return {
        "configuration": told(path, 1000),
        "file": told(program.file, 1000),
        "state": told(state, 40),
        "command": secrets.text(program.command),
        "user": told(options.get("user", ""), 200) or "root",
        "directory": told(options.get("directory", ""), 1000),
        "autostart": options.get("autostart", "true").lower() in ("true", "yes", "on", "1"),
        "autorestart": told(options.get("autorestart", "unexpected"), 40),
        "stopsignal": told(options.get("stopsignal", "TERM"), 20),
        "stopwaitsecs": told(options.get("stopwaitsecs", "10"), 20),
        "environment": _names(options.get("environment", "")),
    }


def _names(text: str) -> list[str]:
    return sorted({told(name, 100) for name in re.findall(r"(?:^|,)\s*([A-Za-z_][A-Za-z0-9_]*)\s*=", text)})


def program_of(found: list[Program], name: str) -> Program | None:
    """Return the program of a process: ``group:name`` is one of a group, ``name:name_00`` one of several alike."""
    whole, _colon, last = name.partition(":")
    for candidate in (name, last, whole, re.sub(r"_\d+\Z", "", last or whole)):
        for program in found:
            if program.name == candidate:
                return program
    return None


def definition(program: Program) -> str:
    """Return all that a program is defined by, as a text that is only ever compared."""
    return "\n".join(f"{name}={value}" for name, value in sorted(program.options.items()))


def launchers(
    tree: Tree, found: list[Program], states: Mapping[str, tuple[str, int]], path: str
) -> list[dict[str, Any]]:
    """Return the programs that do not run, and would start a server."""
    running = {each.name for name, (_state, pid) in states.items() if pid and (each := program_of(found, name))}
    return [
        _launcher(each, states.get(each.name, ("STOPPED", 0))[0], path)
        for each in found
        if each.name not in running and _would_serve(tree, each)
    ]


def _would_serve(tree: Tree, program: Program) -> bool:
    if systemd.LAUNCHES.search(program.command):
        return True
    words = _words(program.command)
    return bool(words) and bool(systemd.LAUNCHES.search(systemd.script(tree, words[0])))


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _launcher(program: Program, state: str, path: str) -> dict[str, Any]:
    return {
        "kind": "supervisor",
        "name": told(program.name, 200),
        "unit": None,
        "container": None,
        "supervisor": described(program, state, path),
        "argv": processes.server_words(secrets.words(_words(program.command))),
        "text": None,
    }
