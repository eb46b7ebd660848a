# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who reads the figures of a host, and the port of its node exporter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted, joined
from ..wishes.monitoring import ALLOW_FROM, NODE_PORT, wanted
from .schema import InstancePlan, Monitoring


def monitoring(
    wished: Mapping[str, Any], gate: Mapping[str, Any], instances: Sequence[InstancePlan]
) -> Monitoring | None:
    """Return who reads the figures of a host, or None where nobody does.

    :param wished: the policy's ``monitoring``.
    :param gate: the policy's ``gate``.
    :raises WishError: an instance, or the gate, has the exporter's port.
    """
    hosts, networks, port = wished["hosts"], wished["networks"], wished["node_port"]
    if not wanted(hosts, networks):
        return None
    for each in instances:
        if port in each["ports"].values():
            problem = f"is {port}, a port of the instance {each['name']}"
            raise WishError(NODE_PORT, problem, "give the node exporter a port of its own")
    if port == gate["port"]:
        raise WishError(NODE_PORT, f"is {port}, the gate's port", "give the node exporter a port of its own")
    readers = [counted(len(hosts), "monitoring host")] if hosts else []
    readers += [ALLOW_FROM] if networks else []
    return {
        "hosts": [dict(each) for each in hosts],
        "networks": list(networks),
        "node_port": port,
        "reason": f"read by {joined(readers)}",
    }
