# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings of GPU checks: a status, the facts, and NVIDIA's recommended action.

Statuses and the ladder of actions follow NVIDIA's own health checks (docs.nvidia.com/health-validation).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PASS, INFO, WARNING, CRITICAL, UNKNOWN = "pass", "info", "warning", "critical", "unknown"
# From good to bad; unknown is worse than a warning, for it may hide anything.
ORDER = (PASS, INFO, WARNING, UNKNOWN, CRITICAL)


class Finding(NamedTuple):
    """The outcome of a check. ``gpu`` is a PCI address, or empty for the host; ``action`` a word of xids, or empty."""

    check: str
    status: str
    detail: str
    gpu: str = ""
    action: str = ""


def verdict(findings: Iterable[Finding]) -> str:
    """Return the worst status."""
    return max((finding.status for finding in findings), key=ORDER.index, default=UNKNOWN)
