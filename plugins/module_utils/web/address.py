# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an address of the web is made of, and how much of it may be shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

# What is shown of an address that cannot be taken apart: any of it may be a password.
UNREADABLE = "(an address that cannot be read)"


# Addresses, and those with a slip: ``https:/me:secret@host``, ``https//token@host``, ``me:secret@host:/x``.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|[^/]*(:|//).*@|.*://", re.DOTALL)


def is_meant(text: str) -> bool:
    """Tell whether a text is meant as an address, well-formed or not, and may hold a password; else it is a path."""
    return bool(_ADDRESS.match(text))


def parts(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None for what cannot be taken apart, such as ``https://[::1/x``."""
    try:
        found = urlsplit(url)
        # Asking for these is what raises on a port that is no number, or on a bracket that is never closed.
        return found if found.hostname is None or found.port is None or found.port >= 0 else None
    except ValueError:
        return None


def public(url: str) -> str:
    """Return a URL as it may be shown and kept: without user, password, query and fragment."""
    found = parts(url)
    if found is None:
        return UNREADABLE
    return found._replace(netloc=found.netloc.rpartition("@")[2], query="", fragment="").geturl()


def secret_parts(url: str) -> list[str]:
    """Return which parts of a URL may be secret: its user, its query, its fragment. A user alone is often a token."""
    found = parts(url)
    if found is None:
        return []
    named = {"user": "@" in found.netloc, "query": bool(found.query), "fragment": bool(found.fragment)}
    return [name for name, there in named.items() if there]
