# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Values of a plan as readable text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_key import MARK

NOTHING = "none"
# Values are for comparison at a glance; plan.json has whole probes and long lists.
LONGEST = 60
# Stands for the digest of a possible secret, which is of no use to readers.
HIDDEN = "(not shown)"


def size(megabytes: float | None) -> str:
    """Return an amount of memory: ``512 MB``, ``7.5 GB``, ``256 GB``, ``1.5 TB``."""
    if megabytes is None:
        return NOTHING
    for unit, factor in (("TB", 1024 * 1024), ("GB", 1024)):
        amount = megabytes / factor
        if amount >= 1:
            return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f}".removesuffix(".0") + f" {unit}"
    return f"{megabytes:.0f} MB"


def described(path: str, value: Any) -> str:
    """Return the value of the figure at ``path`` as a short text."""
    head = path.partition(".")[0]
    if head == "environment" and str(value).startswith(MARK):
        return HIDDEN
    if path.startswith("memory.") and path.endswith("_mb"):
        return size(value)
    return _shortened(_plain(value))


def _plain(value: Any) -> str:
    if value is None or value == "" or value == []:
        return NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)) and not any(isinstance(each, (Mapping, list)) for each in value):
        return ", ".join(map(str, value))
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
