# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The input of every way to build a release, and the errors of the programs that it calls."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WishError
from .store import Store

# (arguments, working directory) -> (exit status, standard output, standard error).
Run = Callable[[list[str], str], tuple[int, str, str]]

_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
# skopeo logs as logrus does without a terminal: time="..." level=fatal msg="...".
_LOGGED = re.compile(r'\bmsg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Job:
    """A release to build in the empty directory ``place``: its plan, the module's options and the host's means.

    ``where`` is the user's variable for messages, ``architecture`` the host's in the notation of images.
    """

    where: str
    plan: Mapping[str, Any]
    params: Mapping[str, Any]
    store: Store
    place: str
    architecture: str
    run: Run

    def refusal(self, problem: str, remedy: str) -> WishError:
        return WishError(self.where, problem, remedy)

    def insist_on(self, *programs: str) -> None:
        """Raise WishError for the first of these programs that is missing on the host."""
        for program in programs:
            if not shutil.which(program):
                raise WishError(
                    self.where,
                    f"{program} is not installed on this host",
                    f"install {program}, as the role tfserving does",
                )

    def check_built_for(self, architecture: str, what: str) -> None:
        """Raise WishError if ``architecture`` is not the host's; an empty one is unknown."""
        if architecture and architecture != self.architecture:
            problem = f"{what} is built for {architecture}, and this host is {self.architecture}"
            raise self.refusal(problem, f"name one for {self.architecture}")


def is_full(text: str) -> bool:
    """Return whether a program's output tells of a full disk."""
    return bool(_FULL.search(text))


def last_words(err: str, out: str = "") -> str:
    """Return the last line of a program's output, without the log's own fields."""
    lines = [line.strip() for line in (err.strip() or out.strip()).splitlines() if line.strip()]
    if not lines:
        return "it gave no reason"
    logged = _LOGGED.search(lines[-1])
    return re.sub(r"\\(.)", r"\1", logged[1]) if logged else lines[-1]
