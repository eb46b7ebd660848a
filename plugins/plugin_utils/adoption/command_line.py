# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A command line of ``tensorflow_model_server`` as the server reads it: what counts, what does not, and why.

The server stops at a bad value and at nothing else: a word that it does not take is printed once, with the usage, and
forgotten (model_servers/main.cc; TensorFlow's util/command_line_flags.cc). Flags and their types come from the table
that the planner writes command lines from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import nearest

from ..server.flags import INTEGER_BITS, known_flags
from ..tables import surveyed
from ..tables.read import table

# What becomes of a word:
#   counts      it sets its flag
#   overridden  a later word sets the same flag
#   swallowed   another flag makes the server ignore this one
#   separate    a flag whose value stands in the next word, or that value: the server joins no words
#   dash        a flag with one dash, or none, before its name
#   newer       a flag of a later release
#   unknown     a flag of no release
#   stray       a word that is no flag: left over from a shell, an editor or a typing mistake
#   bad         a value that its flag does not take; the server prints its usage and leaves
#   help        the server prints its usage, or its version, and leaves
Fate = Literal[
    "counts", "overridden", "swallowed", "separate", "dash", "newer", "unknown", "stray", "bad", "help"
]  # fmt: skip
READ: tuple[Fate, ...] = ("counts", "overridden", "swallowed")

_FLAG = re.compile(r"--([A-Za-z0-9_.-]+)(?:=(.*))?", re.DOTALL)
_LIKE_FLAG = re.compile(r"-?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", re.DOTALL)
_LONG_DASH = re.compile("^[\u2010-\u2015\u2212]+-?")
_WHOLE = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)
_FRACTION = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
# What a shell would have replaced.
UNEXPANDED = re.compile(r"\$(\{[A-Za-z_][A-Za-z0-9_]*[^}]*\}|\([^)]*\)|[A-Za-z_][A-Za-z0-9_]*)|\{\{.*\}\}")
# Anybody may start a server with anything.
MOST_WORDS = 1000
LONGEST_WORD = 16_384


@dataclass(frozen=True)
class Word:
    """A word of a command line."""

    place: int
    """Its place, 1 for the first after the program."""
    text: str
    fate: Fate
    flag: str = ""
    """The flag that it names or meant; empty for a word that is none."""
    value: Any = None
    """The value that it sets, of the flag's own type."""
    guess: str = ""
    """The name that was meant, or what to do instead, as the end of a sentence."""
    entrypoint: bool = False
    """Whether the image's entrypoint wrote it, and nobody in particular."""


@dataclass(frozen=True)
class CommandLine:
    """A command line as the server reads it."""

    version: str
    """The release that it was read for, which may be a guess."""
    words: tuple[Word, ...]
    given: Mapping[str, Any] = field(default_factory=dict)
    """The flags that take effect, by name: their last words, without those that another flag swallows."""

    def __getitem__(self, flag: str) -> Any:
        """Return what a flag is in effect; None where the server works it out from its CPUs."""
        return self.given[flag] if flag in self.given else rows()[flag]["default"]

    def chosen(self, flag: str) -> bool:
        """Return whether somebody wrote the flag, and it counts."""
        return any(word.flag == flag and word.fate == "counts" and not word.entrypoint for word in self.words)

    def of(self, *fates: Fate) -> list[Word]:
        """Return the words with one of these fates."""
        return [word for word in self.words if word.fate in fates]

    @property
    def starts(self) -> bool:
        """Whether the server goes on after it has read its command line."""
        return not self.of("bad", "help")


def rows() -> dict[str, dict[str, Any]]:
    """Return the flags of the newest surveyed release as name -> row of the table."""
    return _rows(surveyed.newest())


@cache
def _rows(version: str) -> dict[str, dict[str, Any]]:
    return known_flags(version)


def judged_as(version: str | None) -> str:
    """Return the release whose flags stand for a version: itself, or the nearest that was surveyed."""
    found = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?", version or "")
    if not found:
        return surveyed.newest()
    wanted = (int(found[1]), int(found[2]), int(found[3] or 0))
    if wanted < surveyed.numbers(surveyed.oldest()):
        return surveyed.oldest()
    return min(".".join(map(str, wanted)), surveyed.newest(), key=surveyed.numbers)


def read(arguments: Sequence[str], version: str | None = None, entrypoint: int = 0) -> CommandLine:
    """Return a command line as the server of a release reads it.

    :param arguments: the words after the program.
    :param version: the release; without one, or with one that was not surveyed, the nearest surveyed one.
    :param entrypoint: how many of the first words an image's entrypoint wrote.
    """
    release = judged_as(version)
    texts = [text[:LONGEST_WORD] for text in arguments[:MOST_WORDS]]
    words = _settled(_first_look(texts, release, entrypoint))
    return CommandLine(release, words, {word.flag: word.value for word in words if word.fate == "counts"})


def _first_look(texts: Sequence[str], release: str, entrypoint: int) -> list[Word]:
    """Return the words by themselves, with the values that stand in words of their own."""
    known, found, ended = _rows(release), list[Word](), False
    for place, text in enumerate(texts, 1):
        before = found[-1] if found else None
        ended = ended or text == "--"
        own = place <= entrypoint
        if ended:
            found.append(Word(place, text, "stray", guess="the server reads nothing from '--' on"))
        elif before and _takes(before, text):
            found.append(Word(place, text, "separate", before.flag, text))
        else:
            fate, flag, value, guess = _word(text, known)
            found.append(Word(place, text, fate, flag, value, guess, own))
    return found


def _takes(before: Word, text: str) -> bool:
    """Return whether a word is the value that the one before it waits for."""
    if text.startswith("-") and not _WHOLE.fullmatch(text):
        return False
    if before.fate == "separate" and before.text == "=":
        return True
    if before.fate == "counts" and "=" not in before.text:
        # A bare switch is on; a word that reads like a truth was to say otherwise.
        return text.lower() in ("true", "false", "0", "1")
    is_name = before.text.startswith("-") and "=" not in before.text
    return is_name and before.fate in ("separate", "unknown", "dash", "newer")


def _word(text: str, known: Mapping[str, Mapping[str, Any]]) -> tuple[Fate, str, Any, str]:
    """Return the fate of a word by itself, its flag, its value and what to do instead."""
    if text == "--help":
        return "help", "help", None, ""
    found = _FLAG.fullmatch(text)
    if not found:
        return _no_flag(text)
    name, value = found[1], found[2]
    if name not in known:
        return _strange(name)
    if value is None and known[name]["type"] != "bool":
        return "separate", name, None, ""
    fits, meant = READERS[known[name]["type"]](known[name]["type"], value)
    if not fits:
        return "bad", name, value, ""
    return ("help" if name == "version" and meant else "counts"), name, meant, ""


def _no_flag(text: str) -> tuple[Fate, str, Any, str]:
    # A text processor makes a longer dash of two.
    text = _LONG_DASH.sub("-", text)
    found = _LIKE_FLAG.fullmatch(text)
    if found and found[1].replace("-", "_") in rows() and (text.startswith("-") or found[2] is not None):
        return "dash", found[1].replace("-", "_"), found[2], ""
    return "stray", "", None, ""


def _strange(name: str) -> tuple[Fate, str, Any, str]:
    if name in rows():
        return "newer", name, None, rows()[name]["since"]
    answer = table("flag_rules")["not_flags"].get(name)
    return "unknown", "", None, answer or nearest(name.replace("-", "_"), rows()) or ""


def _bool(_type: str, value: str | None) -> tuple[bool, Any]:
    if value is None:
        return True, True
    meant = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    return meant is not None, meant


def _integer(type_: str, value: str | None) -> tuple[bool, Any]:
    bits = INTEGER_BITS[type_]
    if value is None or not _WHOLE.fullmatch(value) or len(value) > bits:
        return False, None
    return -(2 ** (bits - 1)) <= int(value) < 2 ** (bits - 1), int(value)


def _float(_type: str, value: str | None) -> tuple[bool, Any]:
    fits = value is not None and bool(_FRACTION.fullmatch(value))
    return fits, float(value or 0) if fits else None


def _string(_type: str, value: str | None) -> tuple[bool, Any]:
    return True, value


# The readers of each type of flag: whether the server takes the value, and what it is.
READERS: dict[str, Callable[[str, str | None], tuple[bool, Any]]] = {
    "bool": _bool,
    "int32": _integer,
    "int64": _integer,
    "float": _float,
    "string": _string,
}


def _settled(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words with what they do to each other."""
    last = {word.flag: word.place for word in words if word.fate == "counts"}
    platform = next((word.value for word in reversed(words) if _counts(word, "platform_config_file")), "")
    return tuple(_fated(word, last, bool(platform)) for word in words)


def _counts(word: Word, flag: str) -> bool:
    return word.fate == "counts" and word.flag == flag


def _fated(word: Word, last: Mapping[str, int], platform: bool) -> Word:
    if word.fate != "counts":
        return word
    if last[word.flag] != word.place:
        return _with(word, "overridden")
    swallowed = platform and rows()[word.flag].get("unless") == "platform_config_file"
    return _with(word, "swallowed") if swallowed else word


def _with(word: Word, fate: Fate) -> Word:
    return Word(word.place, word.text, fate, word.flag, word.value, word.guess, word.entrypoint)
