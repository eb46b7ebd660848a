# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From what a process or a launcher runs to the words that the server itself gets.

Upstream's image starts a script that calls the server with four flags of its own and whatever it was given behind them
(tools/docker/Dockerfile, tf_serving_entrypoint.sh): as the last word of a flag counts, those of the user win.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..diagnosis.reading import at, listed, mapping, text

PROGRAM = "tensorflow_model_server"
SCRIPT = "tf_serving_entrypoint.sh"
# The image's own defaults for the two variables that its script reads.
DEFAULTS = {"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models"}
SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_INTERPRETERS = ("python", "ld-linux", "ld-", "qemu-")
_ENTRYPOINT = ("--port=8500", "--rest_api_port=8501", "--model_name=", "--model_base_path=")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\})")


@dataclass(frozen=True)
class Launch:
    """The words after the program, and how many of them the image's entrypoint wrote."""

    arguments: tuple[str, ...]
    entrypoint: int = 0
    by_shell: bool = False
    """Whether a shell stands between the launcher and the server, to which a stop signal comes first."""


def of_process(argv: Sequence[str], in_container: bool, exe: str = "") -> Launch:
    """Return the words of a running server, without those of an interpreter or a loader that runs it."""
    own = tuple(argv[1:])
    if posixpath.basename(exe).startswith(_INTERPRETERS):
        first = next((place for place, word in enumerate(own) if word.startswith("--")), len(own))
        own = own[first:]
    head = len(own) >= len(_ENTRYPOINT) and all(word.startswith(known) for word, known in zip(own, _ENTRYPOINT))
    return Launch(own, len(_ENTRYPOINT) if in_container and head else 0, head and in_container)


def of_launcher(words: Sequence[str], environment: Mapping[str, str]) -> Launch | None:
    """Return the words that a launcher would give the server; None where that cannot be told.

    :param words: what the launcher runs.
    :param environment: the variables that it runs it with, as far as they are known.
    """
    for place, word in enumerate(words):
        name = posixpath.basename(word)
        _, *others = words[place:]
        if name.startswith(PROGRAM):
            return Launch(tuple(others))
        if name == SCRIPT:
            return _by_script(others, environment)
        if name in SHELLS and others[:1] == ["-c"]:
            return _by_shell(others[1:2], environment)
    return None


def _by_script(words: Sequence[str], environment: Mapping[str, str]) -> Launch:
    known = {**DEFAULTS, **environment}
    name, base = known["MODEL_NAME"], known["MODEL_BASE_PATH"]
    values = ("", "", name, f"{base}/{name}")
    own = [f"{word}{value}" for word, value in zip(_ENTRYPOINT, values)]
    return Launch((*own, *words), len(own), by_shell=True)


def _by_shell(script: Sequence[str], environment: Mapping[str, str]) -> Launch | None:
    try:
        words = shlex.split(script[0] if script else "", comments=True)
    except ValueError:
        return None
    found = of_launcher([_expanded(word, environment) for word in words], environment)
    return Launch(found.arguments, found.entrypoint, by_shell=words[:1] != ["exec"]) if found else None


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    """Return a word with the variables that are known; the others stay, since nobody can say what they hold."""

    def value(found: re.Match[str]) -> str:
        return environment.get(found[1] or found[2], found[3] if found[3] is not None else found[0])

    return _VARIABLE.sub(value, word)


def words_of(origin: Mapping[str, Any]) -> list[str]:
    """Return what a launcher runs, from its own description in a survey."""
    if listed(origin.get("argv")):
        return [text(word) for word in listed(origin["argv"])]
    container = mapping(origin.get("container"))
    if container:
        return [text(word) for part in ("entrypoint", "command") for word in listed(container.get(part))]
    line = (
        text(at(origin, "unit", "ExecStart")) or text(at(origin, "supervisor", "command")) or text(origin.get("text"))
    )
    try:
        return shlex.split(line)
    except ValueError:
        return []
