# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many threads each pool of a server gets, all derived from the CPUs that the instance is pinned to.

Left alone, the server sizes every pool from its affinity mask: 1 x CPUs each for intra-op and inter-op and 4 x CPUs
each for REST and gRPC, so twice as many threads compute as there are CPUs (tensorflow/serving#1237, #1550, #2060).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.planner.reasons import Sheet, counted
from ansible_collections.tfserving.fleet.plugins.module_utils.wish_fields import is_whole
from ansible_collections.tfserving.fleet.plugins.module_utils.wishes import InstanceWish

# The flag behind each pool.
FLAGS = {
    "intra_op": "tensorflow_intra_op_parallelism",
    "inter_op": "tensorflow_inter_op_parallelism",
    "rest": "rest_api_num_threads",
    "grpc": "grpc_max_threads",
    "load": "num_load_threads",
    "unload": "num_unload_threads",
}

# The REST pool starts all its threads at once: beyond this they cost memory and wake-ups, and batches fill as well.
MOST_REQUEST_THREADS = 512

# The same for one model and for several, so that a second model comes by a hot reload and not by a restart. From 2 on
# the server no longer flushes file system caches after each load, which does nothing for local files.
LOAD_THREADS = 2

SPLIT_REASONS = {
    "latency": "few requests run at a time, so most threads share the work inside of one op",
    "balanced": "half for ops side by side, half for the work inside of one op",
    "throughput": "many requests and wide graphs (embedding look-ups) run ops side by side; few are worth splitting",
}


def threads(
    sheet: Sheet, wish: InstanceWish, cpus: int, profile: Mapping[str, Any], batching: Mapping[str, Any] | None
) -> dict[str, int]:
    """Return the threads of each pool of an instance that is pinned to ``cpus`` CPUs.

    Raises WishError where the wished pools would compute with more threads than there are CPUs.
    """
    wished = {pool: _wished(wish, flag) for pool, flag in FLAGS.items() if flag in wish.flags}
    result = _compute(sheet, wish, cpus, profile["inter_op_share"], wished)
    result.update(_requests(sheet, cpus, profile["request_threads_per_cpu"], batching, wished))
    result.update(_models(sheet, wished))
    return result


def _wished(wish: InstanceWish, flag: str) -> int:
    value = wish.flags[flag]
    if is_whole(value) and value >= 1:
        return value
    raise WishError(
        f"{wish.path}.flags.{flag}", f"is {described(value)}", "give a count of threads from 1, without quotes"
    )


def _compute(sheet: Sheet, wish: InstanceWish, cpus: int, share: float, wished: Mapping[str, int]) -> dict[str, int]:
    """Split the CPUs between the two pools that compute.

    Both are always set: with one alone the server lets TensorFlow choose the other (model_servers/server.cc).
    """
    inter = min(max(1, int(cpus * share + 0.5)), max(1, cpus - 1))
    planned = {"intra_op": max(1, cpus - inter), "inter_op": inter}
    why = f"profile {wish.profile}: {SPLIT_REASONS[wish.profile]}"
    if cpus == 1:
        why = "one thread of each pool, the least that the server works with, shares the only CPU"
    result = {}
    for pool, other in (("intra_op", "inter_op"), ("inter_op", "intra_op")):
        number, reason = planned[pool], f"{planned[pool]} of {counted(cpus, 'CPU')}, {why}"
        if other in wished and pool not in wished:
            number, reason = max(1, cpus - wished[other]), f"what the wish for {other} leaves of {counted(cpus, 'CPU')}"
        result[pool] = sheet.settle(f"threads.{pool}", number, reason, wished.get(pool))
    if sum(result.values()) > max(2, cpus):
        pool = max(wished, key=lambda pool: wished[pool] if pool in planned else 0)
        raise WishError(
            f"{wish.path}.flags.{FLAGS[pool]}",
            f"brings the computing threads to {result['intra_op']} intra-op + {result['inter_op']} inter-op,"
            f" and the instance is pinned to {counted(cpus, 'CPU')}",
            f"keep the sum within {max(2, cpus)}, or give the instance more cores",
        )
    return result


def _requests(
    sheet: Sheet, cpus: int, per_cpu: float, batching: Mapping[str, Any] | None, wished: Mapping[str, int]
) -> dict[str, int]:
    """Size the pools whose threads hold a request each and mostly wait for the computing ones."""
    wanted = max(2, int(cpus * per_cpu))
    reason = f"{per_cpu:g} requests in flight for each of {counted(cpus, 'CPU')}"
    if batching and 2 * batching["max_batch_size"] > wanted:
        # The batching guide: request threads block while a batch forms, so about twice its size must be in flight.
        wanted = 2 * batching["max_batch_size"]
        reason = f"twice the batch size of {batching['max_batch_size']}, so that one batch fills while another runs"
    if wanted > MOST_REQUEST_THREADS:
        wanted = MOST_REQUEST_THREADS
        reason += f", cut to {MOST_REQUEST_THREADS} since more waiting threads bring nothing"
    # The event loop takes one REST thread for good; a pool of one would answer nothing (tensorflow/serving#1576).
    loop = f"{reason}; one more for the event loop"
    return {
        "rest": sheet.settle("threads.rest", wanted + 1, loop, wished.get("rest")),
        "grpc": sheet.settle("threads.grpc", wanted, reason, wished.get("grpc")),
    }


def _models(sheet: Sheet, wished: Mapping[str, int]) -> dict[str, int]:
    """Size the pools that load and unload, so that neither runs in the manager's own loop, as it does with 0."""
    why = "a model that fails and is retried does not hold back the others; more would only add to the memory of swaps"
    return {
        "load": sheet.settle("threads.load", LOAD_THREADS, why, wished.get("load")),
        "unload": sheet.settle("threads.unload", 1, "unloads do not wait behind loads", wished.get("unload")),
    }
