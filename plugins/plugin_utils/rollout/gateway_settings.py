# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What variables of gateways have to be, so that a gateway divides the calls of a roll-out and counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, quoted
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import log_socket

from ..gateway import adopted, settings

# So that gateway_calls finds a line of each call in the journal.
COUNTED: Mapping[str, str | bool] = {"gateway_log": log_socket.PATH, "gateway_log_calls": True}
# How a gateway carries gRPC: a connection that is passed on whole cannot be divided.
MODE = "gateway_grpc_mode"


def of(gateways: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each gateway's values of MODE and COUNTED, with the role's defaults. Raises WishErrors for wrong ones."""
    names = (MODE, *COUNTED)
    found = {}
    for gateway in gateways:
        own = variables[gateway]
        complete = settings.complete({name: own[name] for name in names if name in own})
        found[gateway] = {name: complete[name] for name in names}
    return found


def refuse_adopted(model: str, gateways: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a roll-out of a model whose old servers are not taken over yet: both would share the same calls."""
    for gateway in gateways:
        own = variables[gateway]
        found = settings.complete({name: own[name] for name in (adopted.ADOPTED, adopted.SHARE) if name in own})
        beside = any(model in each["models"] for each in found[adopted.ADOPTED])
        if beside and found[adopted.SHARE] < adopted.WHOLE:
            problem = f"is {found[adopted.SHARE]} for {gateway}, so old servers still answer calls for {model}"
            raise WishError(adopted.SHARE, problem, "run adopt_share.yml first")


def check(gateways: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse values, as ``of`` returns them, with which calls could not be divided or counted. Raises WishError."""
    for gateway, found in gateways.items():
        if found[MODE] == "tcp":
            # A server with both versions answers calls that name none with the newer one.
            problem = f"is tcp for {gateway}, so gRPC calls reach the new version beyond the canary's share"
            raise WishError(MODE, problem, "set it to auto")
        for name, needed in COUNTED.items():
            if found[name] != needed:
                shown = quoted(found[name]) if isinstance(found[name], str) else str(found[name]).lower()
                problem = f"is {shown} for {gateway}, and steps are judged by the calls in its journal"
                raise WishError(name, problem, f"set it to {str(needed).lower()}")
