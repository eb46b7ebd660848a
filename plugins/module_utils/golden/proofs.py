# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What proves a version of a model, as a plan has it: its contract, its probe, its golden requests and its warm-up.

What the plan's entry of a model says is true of the highest version that is served, and of each other one that is not
in the entry's ``proofs``, by the version's number as text. During a roll-out, two versions have their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

KEYS = ("contract", "probe", "golden", "warmup")


def apart(model: Mapping[str, Any], versions: Iterable[int]) -> list[int]:
    """Return those of ``versions`` that have a proof of their own in a plan's entry of a model."""
    own = model.get("proofs") or {}
    return [version for version in versions if isinstance(own.get(str(version)), Mapping)]


def of_version(model: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return a plan's entry of a model with what proves one of its versions."""
    return {**model, **(model["proofs"][str(version)] if apart(model, [version]) else {})}
