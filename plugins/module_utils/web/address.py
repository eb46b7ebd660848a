# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a URL, and which of them may be shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

# Shown for an address that cannot be parsed: any part of it may be a password.
UNREADABLE = "(an address that cannot be read)"


# Addresses, also mistyped ones: ``https:/me:secret@host``, ``https//token@host``, ``me:secret@host:/x``.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|[^/]*(:|//).*@|.*://", re.DOTALL)


def is_meant(text: str) -> bool:
    """Return whether a text is meant as an address, well-formed or not, and may hold a password; else it is a path."""
    return bool(_ADDRESS.match(text))


def parts(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None if it cannot be parsed, such as ``https://[::1/x``."""
    try:
        found = urlsplit(url)
        # Accessing these raises on a port that is not a number or an unclosed bracket.
        return found if found.hostname is None or found.port is None or found.port >= 0 else None
    except ValueError:
        return None


def public(url: str) -> str:
    """Return a URL as it may be shown and kept: without user, password, query and fragment."""
    found = parts(url)
    if found is None:
        return UNREADABLE
    return found._replace(netloc=found.netloc.rpartition("@")[2], query="", fragment="").geturl()


def shown(where: str) -> str:
    """Return where something is as it may be shown and kept: a path as it is, of an address what is public."""
    return public(where) if is_meant(where) else where


def secret_parts(url: str) -> list[str]:
    """Return the parts of a URL that may be secret: user, query, fragment. A user alone is often a token."""
    found = parts(url)
    if found is None:
        return []
    named = {"user": "@" in found.netloc, "query": bool(found.query), "fragment": bool(found.fragment)}
    return [name for name, there in named.items() if there]
