# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sources given by a path, on the controller or on the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import WishError
from ...scalars import boolean
from ...web import address
from .row import Key

TYPE = "path"
KEYS = {"remote": Key(boolean, {"type": "bool", "default": False})}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check(path: str, source: Mapping[str, Any]) -> None:
    """Refuse a ``uri`` that is meant as an address."""
    if _SCHEME.match(source["uri"]):
        raise WishError(
            f"{path}.uri",
            "begins with a scheme such as https://, but the type is path",
            "use type http for http(s) addresses, or give a directory or an archive",
        )
    if address.is_meant(source["uri"]):
        problem = "is neither a path nor an address that begins with https:// or http://"
        raise WishError(f"{path}.uri", problem, "give a directory or an archive, or use type http")
