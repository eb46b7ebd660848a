# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Quoting of values for systemd's unit files, all of it in this one place.

It covers three steps of systemd's parser: unquoting of words (systemd.syntax(7)), specifiers such as ``%n``
(systemd.unit(5)) and, for arguments of ``ExecStart=`` only, variables such as ``${NAME}`` (systemd.service(5)).
"""

from __future__ import annotations

import re

from .errors import WishError, kind

# Characters that systemd leaves alone anywhere in a word. A leading '#' or ';' would make a continued line a comment,
# and a lone ';' would start another command, so neither is here.
PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
# Without the colon, which separates the two sides of a bind mount.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_@+=,./-]+")

ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t", "%": "%%"}
# A line break would inject a line into the unit; a backslash at the end would swallow the next one.
_BREAKS = re.compile(r"[\x00-\x1f\x7f]|\\\Z")


def argument(text: str) -> str:
    """Return one argument of ``ExecStart=``."""
    return _checked(text) if PLAIN.fullmatch(_checked(text)) else _quoted(text, {**ESCAPES, "$": "$$"})


def path(text: str) -> str:
    """Return one path of a list, or one side of a bind mount; a colon in it is kept as part of the path."""
    return _checked(text) if PLAIN_PATH.fullmatch(_checked(text)) else _quoted(text, ESCAPES)


def whole(text: str) -> str:
    """Return a value that takes up the rest of its line, such as a single path, where quotes would be part of it."""
    return line(_checked(text).replace("%", "%%"))


def line(text: object) -> str:
    """Return a value that is already in a unit's syntax; raise WishError if it is more than one line."""
    shown = str(text)
    if _BREAKS.search(shown):
        raise WishError("unit", "a value would break its line", "look for a line break or a backslash at the end")
    return shown


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise WishError("unit", f"needs a string, not {kind(text)}", "let it pass '| string' first")
    if "\0" in text:
        raise WishError("unit", "a value cannot hold a NUL", "leave it out")
    return str(text)


def _quoted(text: str, escapes: dict[str, str]) -> str:
    def escaped(found: re.Match[str]) -> str:
        return escapes.get(found[0]) or f"\\x{ord(found[0]):02x}"

    return '"' + re.sub(r'[\x01-\x1f\x7f"\\%' + ("$" if "$" in escapes else "") + "]", escaped, text) + '"'
