# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the companion says of the gates, for those who only show it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from ..serving import bounded_http
from ..visible_text import visible_data
from . import config as configs

# The companion answers within milliseconds.
PAGE_S = 2.0
# Some thousand pairs of gateways and servers.
_MOST_BYTES = 4 << 20
_INSTANCES = {str: {"open": bool, "state": str, "words": str}}
UNANSWERED = "unknown: the companion does not answer"


def page(port: int) -> dict[str, Any]:
    """Return the companion's page, all text in it made visible; empty if nobody answers with one."""
    try:
        code, raw = bounded_http.exchange(port, "GET", "/gate", {}, PAGE_S, _MOST_BYTES)
        found = visible_data(bounded_http.parsed(raw)) if code == 200 else {}
    except (bounded_http.ExchangeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def instances(page: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page says of each instance; empty if that cannot be used."""
    found = page.get("instances")
    return found if isinstance(found, dict) and plain_files.fits(found, _INSTANCES) else {}


def words(path: str = configs.PATH) -> dict[str, str]:
    """Return the gate of each instance: an empty text where it is open, else why it is not.

    Empty where there are no gates. Raises RuntimeError, in one sentence, if the plan of the gates cannot be read.
    """
    if not os.path.exists(path):
        return {}
    try:
        config = configs.read(path)
    except configs.ConfigError as error:
        raise RuntimeError(str(error)) from error
    known = instances(page(config.port))
    return {name: _told(known[name]) if name in known else UNANSWERED for name in config.instances}


def _told(instance: dict[str, object]) -> str:
    return "" if instance["open"] else str(instance["words"])
