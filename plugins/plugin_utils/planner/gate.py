# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a host's instances: whether there is one, where it answers, and whom it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from ..wishes.gate import GROUP, wanted
from .schema import Gate, InstancePlan

PORT = "tfserving_gate_port"


def gate(wished: Mapping[str, Any], instances: Sequence[InstancePlan]) -> Gate | None:
    """Return the gate, or None where nobody would read it.

    :param wished: the policy's ``gate``.
    :raises WishError: an instance has the gate's port, or gateways would ask for a gate that is turned off.
    """
    gateways = wished["gateways"]
    if wished["when"] == "never" and gateways:
        problem = f"is never, but the hosts of {GROUP} ask for the gate and send nothing where nobody answers"
        raise WishError("tfserving_gate", problem, f"leave it out, or take the hosts out of {GROUP}")
    if not wanted(wished["when"], gateways):
        return None
    for each in instances:
        if wished["port"] in each["ports"].values():
            problem = f"is {wished['port']}, a port of the instance {each['name']}"
            raise WishError(PORT, problem, "give the gate a port of its own")
    return {
        "port": wished["port"],
        "drain_timeout_s": wished["drain_timeout_s"],
        "longest_call_s": wished["longest_call_s"],
        "gateways": [dict(each) for each in gateways],
        "reason": f"read by {counted(len(gateways), 'gateway')}" if gateways else "tfserving_gate is always",
    }
