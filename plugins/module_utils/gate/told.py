# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the companion says of the gates, for those who only show it."""

from __future__ import annotations

import os

from ..disk import plain_files
from ..serving import bounded_http
from ..visible_text import visible_data
from . import config as configs

PAGE_S = 2.0
_MOST_BYTES = 4 << 20
_INSTANCES = {str: {"open": bool, "words": str}}
UNANSWERED = "unknown: the companion does not answer"


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
    try:
        code, raw = bounded_http.exchange(config.port, "GET", "/gate", {}, PAGE_S, _MOST_BYTES)
        page = visible_data(bounded_http.parsed(raw)) if code == 200 else {}
    except (bounded_http.ExchangeError, ValueError):
        page = {}
    found = page.get("instances") if isinstance(page, dict) else None
    known = found if isinstance(found, dict) and plain_files.fits(found, _INSTANCES) else {}
    return {name: _told(known[name]) if name in known else UNANSWERED for name in config.instances}


def _told(instance: dict[str, object]) -> str:
    return "" if instance["open"] else str(instance["words"])
