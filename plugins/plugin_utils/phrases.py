# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Phrases that sentences of every package are built of."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun: ``1 core``, ``2 cores``."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def joined(names: Sequence[str]) -> str:
    """Return the names as a list in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
