# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers about files that hardly ever change: worked out anew only when a file is another one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..disk import plain_files
from .host import Host, PartError

MOST_FILES = 200
_MOST_BYTES = 16 << 20


class Answers(NamedTuple):
    """Answers by path, and the first problem that a file had."""

    of: dict[str, Any]
    problem: str = ""

    def insist(self) -> None:
        """Raise PartError if a file had a problem: after what is known of the others has been told."""
        if self.problem:
            raise PartError(self.problem)


def by_content(
    host: Host, name: str, paths: Iterable[str], read: Callable[[bytes], Any], shape: Any
) -> Answers:  # fmt: skip
    """Return ``read(content)`` for each file, out of the section ``name`` where the file is as it was.

    ``shape`` is that of an answer. ``read`` may raise RuntimeError or ValueError with the end of a sentence.
    """
    before = host.state.section(name, {str: {"mark": [int], "answer": shape}})
    found: dict[str, Any] = {}
    problem = ""
    for path in list(paths)[:MOST_FILES]:
        try:
            mark = _mark(path)
            known = before.get(path, {})
            answer = known["answer"] if known.get("mark") == mark else read(plain_files.read(path, _MOST_BYTES))
            found[path] = {"mark": mark, "answer": answer}
        except OSError as error:
            problem = problem or f"{path} cannot be read ({error.strerror})"
        except (RuntimeError, ValueError) as error:
            problem = problem or f"{path}: {error}"
    host.state.keep(name, found)
    return Answers({path: each["answer"] for path, each in found.items()}, problem)


def _mark(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
