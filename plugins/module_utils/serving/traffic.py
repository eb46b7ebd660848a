# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The traffic of instances that are about to be disturbed, on a host without gates: nobody can be told, nobody waits.

``gate/passage.py`` has the one of hosts with gates.
"""

from __future__ import annotations


class Traffic:
    """What a conductor tells those who send requests."""

    def settle(self) -> str:
        """Let whoever answers for the gates answer as its files say; return what was done to it, or an empty text."""
        return ""

    def due(self) -> str:
        """Return what ``settle`` would do, or an empty text; changes nothing."""
        return ""

    def gates(self) -> dict[str, str]:
        """Return the gate of each instance that has one: an empty text where it is open, else why it is not."""
        return {}

    def hold(self, name: str) -> None:
        """Keep traffic away from an instance that is about to be started, until it is proven."""

    def leave(self, name: str) -> list[str]:
        """Send an instance's traffic elsewhere before it is stopped; return what could not be proven, in sentences.

        Raises RuntimeError, in one sentence, if nothing may be disturbed now.
        """
        return []

    def back(self, name: str) -> str:
        """Let the traffic of a proven instance come back; return why it does not, or an empty text."""
        return ""

    def forget(self, name: str) -> None:
        """Forget an instance that is gone: nothing is left that could be closed, and another one may get its ports."""
