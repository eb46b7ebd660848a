# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings on the words of a command line, and on what its flags do together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest

from ..server.flag_rules import CONFLICTS, FORMS, Flags
from ..tables import surveyed
from ..tables.read import table
from .case import Case
from .command_line import READ, UNEXPANDED, Word, judged_as, rows
from .finding import Found, found

_TYPES = {"bool": "truth value", "int32": "whole number", "int64": "whole number", "float": "number"}
CHANNEL = "grpc_channel_arguments"
# Quotes that a shell would have taken away.
_QUOTED = re.compile(r"([\"']).*\1", re.DOTALL)
_DOUBLY = ("socket_path", "model_name", "base_path")


def words(case: Case) -> Iterator[Found]:
    """Judge each word that somebody wrote."""
    for place, word in enumerate(case.line.words):
        if word.entrypoint:
            continue
        after = slice(place + 1, place + 3)
        yield from _word(case, word, case.line.words[after])
        if word.fate in READ and isinstance(word.value, str) and UNEXPANDED.search(word.value):
            yield found("word.unexpanded", word=word.text)
        if word.fate in READ and isinstance(word.value, str) and _QUOTED.fullmatch(word.value):
            yield found("word.quoted", word=word.text)
    swallowed = sorted({word.flag for word in case.line.of("swallowed")})
    if swallowed:
        yield found("word.swallowed", flags=", ".join(swallowed))
    if case.line.given.get("platform_config_file"):
        count = sum(row.get("unless") == "platform_config_file" for row in rows().values())
        yield found("word.platform", count=count)


def _word(case: Case, word: Word, behind: tuple[Word, ...]) -> Iterator[Found]:
    known = {"word": word.text, "flag": word.flag, "value": _shown(case, word.flag) if word.flag in rows() else ""}
    if word.fate == "separate":
        yield from _separate(case, word, behind, known)
    elif word.fate == "newer":
        yield found("word.newer", since=word.guess, version=case.known_version or case.line.version, **known)
    elif word.fate == "bad":
        yield found("word.bad", type=_TYPES[rows()[word.flag]["type"]], **known)
    elif word.fate == "unknown":
        yield found("word.unknown", guess=word.guess, **known)
    elif word.fate == "overridden":
        yield found("word.repeated", **known)
    elif word.fate in ("dash", "stray", "help"):
        yield found(f"word.{word.fate}", **known)
    elif word.fate == "counts":
        yield from _since(case, word)


def _separate(case: Case, word: Word, behind: tuple[Word, ...], known: Mapping[str, Any]) -> Iterator[Found]:
    """Judge a flag and its value in two words, once for both."""
    if word.text.startswith("--"):
        values = takewhile(lambda each: each.fate == "separate" and each.flag == word.flag, behind)
        yield found("word.separate", **{**known, "word": " ".join([word.text, *(each.text for each in values)])})
        return
    before = case.line.words[word.place - 2]
    if before.fate == "counts":
        off = word.text.lower() in ("false", "0")
        yield found("word.switch" if off else "word.stray", **known)


def _since(case: Case, word: Word) -> Iterator[Found]:
    since = rows()[word.flag]["since"]
    if not case.known_version and since != surveyed.oldest():
        yield found("word.since", flag=word.flag, since=since)


def _shown(case: Case, flag: str) -> str:
    value = case.line[flag]
    if value is None:
        return str(rows()[flag].get("computed", "what the server works out"))
    return str(value).lower() if isinstance(value, bool) else str(value) if value != "" else "unset"


def values(case: Case) -> Iterator[Found]:
    """Judge the values of the flags that take effect."""
    limits = table("flag_rules")["limits"]
    for flag, value in case.line.given.items():
        rule = limits.get(flag, {})
        low, high = rule.get("min"), rule.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            yield found("flag.range", flag=flag, value=value, why=rule["why"])
        if value not in rule.get("choices", [value]):
            yield found("flag.choice", flag=flag, value=value, why=rule["why"])
        if rule.get("form") in _DOUBLY and not UNEXPANDED.search(value):
            yield from _form(flag, value, rule["form"])
    yield from _channel(case)


def _form(flag: str, value: str, form: str) -> Iterator[Found]:
    try:
        FORMS[form](value, flag)
    except WishError as error:
        yield found("flag.form", error.remedy, flag=flag, problem=error.problem)


def _channel(case: Case) -> Iterator[Found]:
    """Judge the arguments of gRPC, those that a later word replaces included: they were meant as well."""
    known = table("adoption_findings")["channel_arguments"]
    for word in case.line.of("counts", "overridden"):
        items = word.value.split(",") if word.flag == CHANNEL and word.value else []
        for item in items:
            name, _equals, value = item.partition("=")
            if item.count("=") != 1 or not name:
                yield from _form(CHANNEL, item, "channel_arguments")
            elif name not in known:
                yield found("channel.unknown", name=name, guess=nearest(name, known))
            elif known[name] == "number" and not _is_int32(value):
                yield found("channel.number", name=name, value=value)


def effective_arguments(text: str) -> list[str]:
    """Return the arguments that gRPC takes."""
    known = table("adoption_findings")["channel_arguments"]
    pairs = [item.partition("=") for item in text.split(",") if item.count("=") == 1]
    return [
        f"{name}={value}"
        for name, _equals, value in pairs
        if name in known and (known[name] == "text" or _is_int32(value))
    ]


def _is_int32(text: str) -> bool:
    bare = text.strip().removeprefix("-")
    return bare.isascii() and bare.isdecimal() and len(bare) < 11 and int(bare) < 2**31


def together(case: Case) -> Iterator[Found]:
    """Judge what the flags do to each other, by the planner's own rules."""
    line = case.line
    given = dict(line.given)
    if given.get("model_config_file"):
        given = {flag: value for flag, value in given.items() if not _of_entrypoint(case, flag)}
    flags = Flags(given, rows())
    if not line.starts:
        return
    for conflict in CONFLICTS:
        if conflict.when(flags):
            row = {"stops": "flag.stops", "loses": "flag.loses", "idle": "flag.idle"}[conflict.kind]
            yield found(row, conflict.remedy, flag=conflict.flag, problem=conflict.problem)
            if conflict.kind == "stops":
                return


def _of_entrypoint(case: Case, flag: str) -> bool:
    return flag in ("model_name", "model_base_path") and not case.line.chosen(flag)


def habits(case: Case) -> Iterator[Found]:
    """Judge settings that work, and cost something."""
    line = case.line
    if line["model_config_file"] and line["model_config_file_poll_wait_seconds"] == 0:
        yield found("config.once")
    if line["num_load_threads"] == 0 and len(case.models) > 1:
        yield found("loading.inline")
    if line["enable_model_warmup"] is False:
        yield found("warmup.off")
    if line["enable_profiler"]:
        yield found("profiler.on")
    version = case.known_version
    if version and judged_as(version) != version and surveyed.numbers(version)[:2] not in _surveyed():
        yield found("release.unsurveyed", version=version, judged=judged_as(version))


def _surveyed() -> set[tuple[int, ...]]:
    return {surveyed.numbers(each)[:2] for each in surveyed.releases()}
