# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The settings that a trial asks for, checked before anything is touched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WishError, kind, quoted
from ..refusals import Refusals

# As in the wishes; without the dot, which separates the parts of our units' names.
INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# A server of today knows some hundred flags; the kernel takes 128 KiB for one argument, the plan at most 4096.
MOST_ARGUMENTS = 200
LONGEST_ARGUMENT = 4096
# A trial has a file or two: batching and, for a test, the session's. A batching file has some hundred bytes.
MOST_FILES = 8
# The file that names base paths, for trials with model versions of their own; these are in a directory beside it.
CONFIG = "models.config"
MODELS = "models"
LARGEST_FILE = 64 << 10
# A trial shorter than this would end while it is measured; one that outlives a day is not a trial.
SHORTEST_S, LONGEST_S = 30, 86400

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Wish:
    """Other settings for one instance: the server's arguments, files for them, and for how long."""

    arguments: tuple[str, ...]
    files: Mapping[str, str]
    expires_s: int
    owner: str

    @property
    def digest(self) -> str:
        """Return a short digest that changes exactly when the settings do."""
        what = json.dumps([self.arguments, dict(self.files)], sort_keys=True)
        return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def wish(options: Mapping[str, Any], ports: Mapping[str, int]) -> Wish:
    """Return the wish of a module's ``options`` for an instance with these ports. Raises WishError."""
    refusals = Refusals()
    refusals.check(_arguments, options["arguments"], ports)
    refusals.check(files, options["files"], "files")
    refusals.check(expiry, options["expires_s"])
    refusals.check(owner, options["owner"])
    refusals.stop()
    return Wish(tuple(options["arguments"]), dict(options["files"]), options["expires_s"], options["owner"])


def instance(name: str) -> None:
    """Refuse a name that no instance has."""
    if not INSTANCE.fullmatch(name):
        raise WishError("instance", f"{quoted(name)} is not the name of an instance", "name one of the host's plan")


def owner(value: str) -> None:
    """Refuse a missing or unusable id of the one who tries."""
    if not OWNER.fullmatch(value):
        problem = f"{quoted(value)} is not an id" if value else "is missing"
        raise WishError("owner", problem, "write letters, digits, '.', '_' or '-', at most 64")


def expiry(seconds: int) -> None:
    """Refuse a time that is too short to measure in, or too long for a trial."""
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise WishError("expires_s", f"{seconds} is out of bounds", f"write {SHORTEST_S} to {LONGEST_S} seconds")


def _arguments(arguments: Sequence[str], ports: Mapping[str, int]) -> None:
    if len(arguments) > MOST_ARGUMENTS:
        raise WishError("arguments", f"has {len(arguments)} words", f"pass at most {MOST_ARGUMENTS}")
    for number, word in enumerate(arguments):
        path = f"arguments[{number}]"
        if not word.startswith("--") or len(word) > LONGEST_ARGUMENT or _CONTROL.search(word):
            remedy = f"write --name=value on one line of at most {LONGEST_ARGUMENT} characters"
            raise WishError(path, "is not a flag of the server", remedy)
    for flag, protocol in (("port", "grpc"), ("rest_api_port", "rest")):
        if [word for word in arguments if word.startswith(f"--{flag}=")] != [f"--{flag}={ports[protocol]}"]:
            remedy = f"write --{flag}={ports[protocol]} once, as the plan has it: callers and the proof need the port"
            raise WishError("arguments", f"does not keep the instance's {protocol} port", remedy)


def files(wanted: Mapping[str, Any], path: str) -> None:
    """Refuse files (name -> content) with other names than plain ones, or too large."""
    if len(wanted) > MOST_FILES:
        raise WishError(path, f"has {len(wanted)} files", f"pass at most {MOST_FILES}")
    for name, content in wanted.items():
        if not FILE.fullmatch(str(name)) or name == MODELS:
            remedy = f"write letters, digits, '.', '_' or '-', at most 64, no path, and not '{MODELS}'"
            raise WishError(path, f"{quoted(name)} is not a file name", remedy)
        if not isinstance(content, str):
            raise WishError(f"{path}.{name}", f"is {kind(content)}", "write the file's content as a string")
        if len(content.encode("utf-8", "surrogatepass")) > LARGEST_FILE:
            raise WishError(f"{path}.{name}", f"has more than {LARGEST_FILE >> 10} KiB", "shorten it")
