# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lines of a server's log as evidence: few, short, and harmless to print."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from .finding import Proof
from .instance import Instance
from .verdicts import proof

_MOST, _LONGEST = 2, 240


def proofs(instance: Instance, *patterns: str) -> tuple[Proof, ...]:
    """Return the last lines of its log that a pattern is found in."""
    lines = instance.log(*patterns)[-_MOST:]
    return tuple(
        proof(f"journalctl -u tfserving@{instance.name}", told(line, _LONGEST), "no such line") for line in lines
    )
