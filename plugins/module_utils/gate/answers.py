# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the companion is asked and what it answers: HAProxy's agent check and HTTP, told apart by the first line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from ..visible_text import visible
from .judge import Judgement

# The longest are those of a gateway's backends and servers, with a model and a label or a host and an instance in them.
_NAME = r"[A-Za-z0-9._:@-]{1,300}"
_AGENT = re.compile(rf"gate ({_NAME}) ({_NAME}) ({_NAME}/{_NAME}) ({_NAME})")
_HTTP = re.compile(r"(GET|HEAD) (/[!-~]*) HTTP/1\.[01]")
_REQUEST = re.compile(r"[A-Z]{1,16} [!-~]+ HTTP/1\.[01]")
_WHOLE_NAME = re.compile(_NAME)

# HAProxy shows 128 characters of it, other balancers as much as they like.
MOST_CHARACTERS = 240


@dataclass(frozen=True)
class Poll:
    """A question for one instance. Without a gateway it is one of a balancer that is known by its address alone."""

    instance: str
    gateway: str = ""
    backend: str = ""
    server: str = ""
    generation: str = ""
    by_agent: bool = False


@dataclass(frozen=True)
class Page:
    """A question by HTTP that is for no instance: ``path`` names the page."""

    path: str


def is_http(line: str) -> bool:
    """Return whether a first line begins a request of HTTP."""
    return bool(_REQUEST.fullmatch(line))


def wants_body(line: str) -> bool:
    """Return whether the answer to a request has a body."""
    return not line.startswith("HEAD ")


def parsed(line: str) -> Poll | Page | None:
    """Return what the first line of a connection asks for; None for anything else."""
    agent = _AGENT.fullmatch(line)
    if agent:
        instance, gateway, pair, generation = agent.groups()
        backend, _, server = pair.partition("/")
        return Poll(instance, gateway, backend, server, generation, by_agent=True)
    http = _HTTP.fullmatch(line)
    return _asked(http.group(2)) if http else None


def _asked(target: str) -> Poll | Page | None:
    try:
        address = urlsplit(target)
        given = parse_qs(address.query, max_num_fields=16)
    except ValueError:
        return None
    path = unquote(address.path)
    if not path.startswith("/gate/"):
        return Page(path)
    names = {key: _named(given, key) for key in ("gateway", "backend", "server", "generation")}
    return Poll(path.removeprefix("/gate/"), names["gateway"], names["backend"], names["server"], names["generation"])


def _named(given: Mapping[str, list[str]], key: str) -> str:
    value = given.get(key, [""])[0]
    return value if _WHOLE_NAME.fullmatch(value) else ""


def plain(words: str) -> str:
    """Return words as one line of printable ASCII, cut to what a page shows."""
    text = " ".join(visible(words).encode("ascii", "backslashreplace").decode("ascii").split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


def agent(judgement: Judgement) -> bytes:
    """Return the answer to HAProxy's agent check.

    Up and down are states of their own. The words ready, drain and maint would overwrite what an operator decided. What
    follows # is only shown, but the blank before it is needed: ``down#why`` is a word that HAProxy ignores.
    """
    return b"up 100%\n" if judgement.open else f"down #{plain(judgement.words)}\n".encode("ascii")


def http(code: int, body: bytes, kind: str = "text/plain; charset=us-ascii", with_body: bool = True) -> bytes:
    """Return a complete HTTP answer, after which the connection ends."""
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}[code]
    head = (
        f"HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")


def page(judgement: Judgement) -> tuple[int, bytes]:
    """Return status and text for a balancer that asks by HTTP."""
    return (200, b"open\n") if judgement.open else (503, f"{plain(judgement.words)}\n".encode("ascii"))
