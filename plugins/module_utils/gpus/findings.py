# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a check of GPUs finds: a status, what is the case, and what NVIDIA recommends to do about it.

Statuses and the ladder of actions follow NVIDIA's own health checks (docs.nvidia.com/health-validation).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PASS, INFO, WARNING, CRITICAL, UNKNOWN = "pass", "info", "warning", "critical", "unknown"
# From good to bad; what could not be asked is worse than a warning, for it may be anything.
ORDER = (PASS, INFO, WARNING, UNKNOWN, CRITICAL)


class Finding(NamedTuple):
    """One check's outcome. ``gpu`` is a PCI address, or empty for the host; ``action`` one of xids' words, or empty."""

    check: str
    status: str
    detail: str
    gpu: str = ""
    action: str = ""


def verdict(findings: Iterable[Finding]) -> str:
    """Return the worst status."""
    return max((finding.status for finding in findings), key=ORDER.index, default=UNKNOWN)
