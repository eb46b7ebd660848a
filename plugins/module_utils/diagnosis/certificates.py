# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the certificates of a host expire. Only files of certificates are named to openssl, and only dates are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..host.sysfs import Tree
from ..visible_text import told
from .command import Ask

MOST = 20


def read(tree: Tree, ask: Ask, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the end of each certificate that is there, as openssl writes it in ISO 8601. Raises RuntimeError."""
    found = []
    for path in [each for each in paths if tree.exists(each)][:MOST]:
        answer = ask(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", tree.path(path)])
        end = (answer or "").strip().partition("notAfter=")[2]
        found.append({"path": path, "not_after": told(end, 40) or None})
    return found
