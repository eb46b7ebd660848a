# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many calls a server gets at a time, and how long a call may wait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..phrases import counted

Instance = Mapping[str, Any]

# Old processes live on after a reload until their calls have ended.
STOP_MARGIN_S = 30


def calls(instance: Instance, wished: Mapping[str, int], gateways: int) -> tuple[int, str]:
    """Return how many calls of one gateway a server gets at a time, and why.

    A call may come over REST or gRPC and name any model, so each backend may use all of it.
    """
    total, reason = _total(instance, wished)
    share = math.ceil(total / gateways)
    return share, f"{reason}; {total} from {counted(gateways, 'gateway')}"


def _total(instance: Instance, wished: Mapping[str, int]) -> tuple[int, str]:
    name = instance["name"]
    if name in wished:
        return wished[name], f"gateway_maxconn.{name}"
    batching = instance["batching"]
    if batching:
        size, running = batching["max_batch_size"], batching["num_batch_threads"]
        return size * (running + 1), f"{counted(running, 'batch', 'batches')} of {size} that run, and one that forms"
    # One of the server's threads polls and holds no call.
    held = max(1, min(instance["threads"]["grpc"], instance["threads"]["rest"]) - 1)
    return held, f"no batches, and the server holds {counted(held, 'call')} at a time"


def queue_ms(instances: Iterable[Instance], share: float) -> tuple[int, str]:
    """Return how long a call may wait for a server, and why."""
    objective = min(each["objective_p99_ms"] for each in instances)
    wait = max(1, int(objective * share))
    return wait, f"{share:.0%} of the objective of {objective:g} ms: who waits longer is late in any case"


def server_ms(longest_s: float, margin_s: float) -> tuple[int, str]:
    """Return how long a server may take to answer, and why."""
    reason = f"the longest call may take {longest_s:g} s, and {margin_s:g} s more, or the gateway gives up first"
    return math.ceil((longest_s + margin_s) * 1000), reason


def stop_s(longest_s: float, margin_s: float) -> int:
    """Return after how many seconds an old process ends whatever it still does."""
    return math.ceil(longest_s + margin_s + STOP_MARGIN_S)
