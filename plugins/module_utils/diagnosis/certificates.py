# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the certificates of a host expire. Only files of certificates are named to openssl, and only dates are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from ..host.sysfs import Tree
from ..visible_text import told
from .command import Ask

MOST = 20


def read(tree: Tree, ask: Ask, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the end of each certificate that is there, in seconds since 1970. Raises RuntimeError."""
    found = []
    for path in [each for each in paths if tree.exists(each)][:MOST]:
        answer = ask(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", tree.path(path)])
        found.append({"path": told(path, 200), "not_after": _seconds((answer or "").partition("notAfter=")[2].strip())})
    return found


def _seconds(end: str) -> float | None:
    """Return a moment as openssl writes it, None for what is none: such as 2026-12-24 08:00:00Z."""
    try:
        return datetime.strptime(end, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
