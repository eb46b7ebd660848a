# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The repositories known to a host's apt, and their conflicts with one that a role adds.

apt keeps one signing key per repository and suite. If two entries name different keys, every apt command fails, even
those that have nothing to do with the repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from ..disk import plain_files
from ..errors import WishError
from ..refusals import WishErrors
from ..visible_text import shortened

MAIN = "etc/apt/sources.list"
FOLDER = "etc/apt/sources.list.d"
# apt ignores files with other names, and those that begin with a dot.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.(list|sources)")
# Hosts have a handful of files of a few kilobytes; no person wrote a larger one.
_FILES = 1000
_SIZE = 1 << 20

_LINE = re.compile(r"\s*(?:deb|deb-src)\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)")
_PORTS = {"http": 80, "https": 443}
# A path, or several; nothing longer is a valid Signed-By.
_SHOWN = 200
_OFF = ("no", "false", "without", "off", "disable")

Entry = dict[str, Any]


def read(root: str) -> list[Entry]:
    """Return every entry of the host below ``root``: file, line, URI, suite and signing key."""
    found = []
    for path in _paths(root):
        parse = stanzas if path.endswith(".sources") else lines
        found += [{"file": f"/{path}", **entry} for entry in parse(_content(os.path.join(root, path)))]
    return found


def _paths(root: str) -> list[str]:
    try:
        names = sorted(os.listdir(os.path.join(root, FOLDER)))[:_FILES]
    except OSError:
        names = []
    return [MAIN, *(f"{FOLDER}/{name}" for name in names if _NAME.fullmatch(name))]


def _content(path: str) -> str:
    try:
        return plain_files.beginning(path, _SIZE).decode("utf-8", "replace")
    except OSError:
        return ""


def lines(text: str) -> Iterator[Entry]:
    """Parse the one-line format."""
    for number, line in enumerate(text.split("\n"), 1):
        # apt removes quotes anywhere in a word, and reads %2d as the character that it encodes.
        found = _LINE.match(_without_comment(line).replace('"', ""))
        if found:
            options = dict(option.partition("=")[::2] for option in (found["options"] or "").split())
            options = {name.lower(): value for name, value in options.items()}
            yield _entry(number, unquote(found["uri"]), unquote(found["suite"]), options)


def _without_comment(line: str) -> str:
    """Cut a line at its comment; within brackets the # has no meaning."""
    at = 0
    while 0 <= (opened := line.find("[", at)) < line.find("#", at):
        closed = line.find("]", opened)
        if closed < 0:
            break
        at = closed
    return line[:at] + line[at:].partition("#")[0]


def stanzas(text: str) -> Iterator[Entry]:
    """Parse the format of one field per line, with an empty line between entries."""
    fields: dict[str, str] = {}
    name, first = "", 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            yield from _entries(first, fields)
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        else:
            first = first if fields else number
            name, _colon, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def _entries(number: int, fields: Mapping[str, str]) -> Iterator[Entry]:
    if fields.get("enabled", "").lower() in _OFF:
        return
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield _entry(number, uri, suite, fields)


def _entry(number: int, uri: str, suite: str, options: Mapping[str, str]) -> Entry:
    signed = options.get("signed-by", "").strip()
    key = "its own text" if "\n" in signed or "BEGIN" in signed else signed
    return {"line": number, "uri": place(uri), "suite": suite, "signed_by": key, "trusted": options.get("trusted", "")}


def place(uri: str) -> str:
    """Return what identifies a repository, regardless of its address's spelling and credentials."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return uri
    if not parts.hostname:
        return uri.rstrip("/")
    own = f":{port}" if port and port != _PORTS.get(parts.scheme.lower()) else ""
    path = re.sub("/+", "/", parts.path).rstrip("/")
    scheme = "http" if parts.scheme.lower() in _PORTS else parts.scheme.lower()
    return f"{scheme}://{parts.hostname}{own}{path}"


def check(entries: Sequence[Entry], uri: str, suites: Sequence[str], signed_by: str, own: str) -> None:
    """Raise WishErrors with each entry outside the file ``own`` that conflicts with it.

    If two entries of one repository name different keys, every apt command fails.
    """
    others = [
        entry
        for entry in entries
        if entry["file"] != own and entry["uri"] == place(uri) and entry["suite"] in suites
        if entry["trusted"] or not _goes_with(entry, signed_by, own)
    ]  # fmt: skip
    if others:
        raise WishErrors([_conflict(entry, own) for entry in others])


def _goes_with(entry: Entry, signed_by: str, own: str) -> bool:
    """Return whether apt accepts an entry beside ours: without a key, only if it is read before ours (as of apt 2.6).

    Debian's own sources.list is such an entry on most hosts.
    """
    if entry["signed_by"]:
        return bool(entry["signed_by"] == signed_by)
    return bool(entry["file"] == f"/{MAIN}" or entry["file"] < own)


def _conflict(entry: Entry, own: str) -> WishError:
    signed = f"signed by {shortened(entry['signed_by'], _SHOWN)}" if entry["signed_by"] else "without a key of its own"
    kept = f"names the repository that this role keeps in {own}, {signed}"
    problem = f"{kept}, and apt takes one key for both or fails altogether"
    return WishError(f"{entry['file']}:{entry['line']}", problem, "remove that entry; nothing has been changed")
