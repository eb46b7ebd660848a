# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The words of a text-format protocol buffer file, whose author is anybody.

Source: the specification at https://protobuf.dev/reference/protobuf/textformat-spec/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

Kind = Literal["name", "number", "text", "sign", "end"]
# Files of models are lists; the longest known has a few thousand lines.
LONGEST = 1 << 20

_WORD = re.compile(
    r"""(?P<blank>[\s]+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')
    |(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>[][{}<>:,;/.-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_SELVES = (b"\\", b"'", b'"', b"?")


@dataclass(frozen=True)
class Token:
    """A word, and the line that it stands on."""

    kind: Kind
    word: str
    line: int


def tokens(text: str, path: str) -> Iterator[Token]:
    """Yield the words of a file, with one of the kind ``end`` at last. Raises WishError for what is no word."""
    if len(text) > LONGEST:
        raise WishError(path, f"is longer than {LONGEST} characters", "split it")
    place, line = 0, 1
    while place < len(text):
        found = _WORD.match(text, place)
        if not found:
            raise WishError(path, f"line {line} holds a character that is no part of a text proto", "see the line")
        if found.lastgroup != "blank":
            yield Token(found.lastgroup or "end", found[0], line)  # type: ignore[arg-type]
        line += found[0].count("\n")
        place = found.end()
    yield Token("end", "", line)


def unquoted(token: Token, path: str) -> str:
    """Return what stands between the quotes of a text. Raises WishError for an escape that does not exist."""

    def meant(escape: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, letter = escape.groups()
        if octal or hexadecimal:
            return bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)])
        if short or long:
            return _character(int(short or long, 16))
        if letter in _SELVES:
            return bytes(letter)
        if letter not in _LETTERS:
            raise WishError(
                path, f"line {token.line} holds an escape that does not exist", "write \\\\ for a backslash"
            )
        return _LETTERS[letter]

    whole = _ESCAPE.sub(meant, token.word[1:-1].encode("utf-8", "surrogatepass"))
    return whole.decode("utf-8", "replace")


def _character(code: int) -> bytes:
    return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else b"?"
