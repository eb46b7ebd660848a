# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The limit of a Redis that keeps a gateway's answers, as nginx reads it there, which alone knows the password."""

from __future__ import annotations

import re
import socket

from ..visible_text import told

_SECONDS = 5.0
_MOST_BYTES = 4096
_ASK = b"GET /store HTTP/1.0\r\nHost: check\r\n\r\n"
_LINE = re.compile(r"(maxmemory|maxmemory_policy) ([A-Za-z0-9-]{1,40})")
_VARIABLE = "gateway_cache_store"


def refusal(path: str) -> str:
    """Return why the store behind nginx's socket may keep no answers; nothing where it may."""
    try:
        status, text = _page(path)
    except OSError as error:
        return f"{_VARIABLE}: nginx does not say what limit it has ({error}); read tfserving-cache.service's journal"
    if status != "200":
        said = told(text.strip(), 200)
        return f"{_VARIABLE}: keeps no answers ({said}); start it, or correct its address, tls_name, ca or password"
    found = dict(_LINE.findall(text))
    if "maxmemory" not in found or "maxmemory_policy" not in found:
        return f"{_VARIABLE}: does not say what limit it has; let its user read INFO memory"
    if found["maxmemory"] == "0":
        return f"{_VARIABLE}: has no maxmemory and would take all memory of its host; set maxmemory in the Redis there"
    if found["maxmemory_policy"] == "noeviction":
        return (
            f"{_VARIABLE}: refuses new answers when it is full (maxmemory-policy noeviction);"
            " set maxmemory-policy allkeys-lru in the Redis there"
        )
    return ""


def _page(path: str) -> tuple[str, str]:
    """Return the status and the body of nginx's page about its store."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_SECONDS)
        line.connect(path)
        line.sendall(_ASK)
        received = b""
        while len(received) < _MOST_BYTES:
            part = line.recv(_MOST_BYTES)
            if not part:
                break
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return words[1].decode("ascii", "replace") if len(words) > 1 else "", body.decode("utf-8", "replace")
