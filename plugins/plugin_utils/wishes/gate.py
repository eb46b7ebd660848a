# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate of the instances: who sends them traffic, and how long a call may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .senders import Senders

# The hosts that send the traffic, as a group of the inventory.
GROUP = "tfserving_gateways"
# The variables that may name the address from which a gateway connects, the first that is set counts.
ADDRESSES = ("gateway_source_address", "tfserving_address", "ansible_host")

TIMEOUT, LONGEST = "tfserving_drain_timeout_s", "tfserving_longest_call_s"
# Beyond the longest call, leaving takes two polls of every gateway, half a second of quiet and a second look.
MARGIN_S = 5

_SENDERS = Senders(
    "a gateway",
    ADDRESSES,
    "which is no IP address, and filters know no names",
    "set it, for that host, to the address from which it connects to the servers",
)
gateways = _SENDERS.checked
listed = _SENDERS.listed


def wanted(when: str, gateways: Sequence[Any]) -> bool:
    """Return whether instances have a gate.

    :param when: ``tfserving_gate``.
    """
    return when == "always" or (when == "auto" and bool(gateways))


def check(timeout: Any, longest: Any) -> None:
    """Refuse a limit for leaving that the longest call would always exceed."""
    if int(timeout) < int(longest) + MARGIN_S:
        problem = f"is {timeout}, but a call may take {longest} s ({LONGEST}), and leaving {MARGIN_S} s more"
        raise WishError(TIMEOUT, problem, f"set it to {int(longest) + MARGIN_S} or more")
