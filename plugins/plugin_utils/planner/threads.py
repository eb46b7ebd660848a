# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sizes of a server's thread pools, all derived from the CPUs that the instance is pinned to.

By default the server sizes every pool from its affinity mask: 1 x CPUs each for intra-op and inter-op and 4 x CPUs
each for REST and gRPC, so twice as many threads compute as there are CPUs (tensorflow/serving#1237, #1550, #2060).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import is_whole

from ..phrases import counted
from ..server.batch_size import largest_batch
from ..wishes.read import InstanceWish
from .reasons import SHAPES, Sheet
from .schema import Batching, Threads

# The flag behind each pool.
FLAGS = {
    "intra_op": "tensorflow_intra_op_parallelism",
    "inter_op": "tensorflow_inter_op_parallelism",
    "rest": "rest_api_num_threads",
    "grpc": "grpc_max_threads",
    "load": "num_load_threads",
    "unload": "num_unload_threads",
}

# The REST pool starts all its threads at once, some 20 KB each. Up to this number they are cheap on any host; above it,
# a big instance gets enough to fill the batches that it runs at a time, and at most MOST_REQUEST_THREADS.
PLENTY_OF_REQUEST_THREADS = 512
MOST_REQUEST_THREADS = 2048

# TasksMax= of the unit, less the threads that libraries start themselves: gRPC, CUDA, the allocator.
MOST_THREADS = 8192 - 512

# One thread of each pool never holds a request, so a pool of one answers nothing. REST: the event loop
# (tensorflow/serving#1576). gRPC: the synchronous server keeps one thread polling; a call that would leave none is
# refused with RESOURCE_EXHAUSTED and counted by no metric (grpc++, ThreadManager::MainWorkLoop; the server's one
# completion queue makes that one thread, measured with 1.51: of N threads N - 1 hold calls).
THREADS_WITHOUT_REQUEST = {"rest": (1, "one more for the event loop"), "grpc": (1, "one more that polls for calls")}

# The same for one model and for several, so that adding a second model is a hot reload, not a restart. From 2 on the
# server no longer flushes file system caches after each load, which does nothing for local files.
LOAD_THREADS = 2

SPLIT_REASONS = {
    "latency": "few requests run at a time, so most threads share the work inside of one op",
    "balanced": "half for ops side by side, half for the work inside of one op",
    "throughput": "many requests and wide graphs (embedding look-ups) run ops side by side; few are worth splitting",
}


def figures(tuned: Mapping[str, str]) -> dict[str, str]:
    """Return tuned settings by the figures of the plan that they are."""
    pools = {f"flags.{flag}": f"threads.{pool}" for pool, flag in FLAGS.items()}
    return {pools.get(setting, setting): note for setting, note in tuned.items()}


def threads(
    sheet: Sheet, wish: InstanceWish, cpus: int, profile: Mapping[str, Any], batching: Batching | None
) -> Threads:
    """Return the threads of each pool of an instance that is pinned to ``cpus`` CPUs.

    Raise WishError if the pools that the user set would compute with more threads than there are CPUs.
    """
    wished = {pool: _wished(wish, flag) for pool, flag in FLAGS.items() if flag in wish.flags}
    result = _compute(sheet, wish, cpus, profile["inter_op_share"], wished)
    sizes = (
        (batching["num_batch_threads"], batching["max_enqueued_batches"], largest_batch(batching)) if batching else None
    )
    callers = _callers(cpus, profile["request_threads_per_cpu"], profile["batch_share"], sizes)
    result.update(_requests(sheet, wish, callers, batching, wished))
    result.update(_models(sheet, wished))
    _refuse_too_many(wish, result, batching, wished)
    return cast("Threads", result)  # the pools of FLAGS, each settled above


def _refuse_too_many(
    wish: InstanceWish, pools: Mapping[str, int], batching: Batching | None, wished: Mapping[str, int]
) -> None:
    """Refuse pools that exceed the unit's TasksMax=: the server exits when it cannot start a thread."""
    total = sum(pools.values()) + (batching["num_batch_threads"] if batching else 0)
    if not wished or total <= MOST_THREADS:
        return
    pool = max(wished, key=lambda pool: wished[pool])
    most = MOST_THREADS - total + wished[pool]
    raise WishError(
        wish.place(f"flags.{FLAGS[pool]}"),
        f"is {wished[pool]}, which brings the server to {total} threads, and its unit has room for {MOST_THREADS}",
        f"use at most {most}" if most > 1 else "lower it, and the other flags of threads",
    )


def _wished(wish: InstanceWish, flag: str) -> int:
    value = wish.flags[flag]
    if is_whole(value) and value >= 1:
        return int(value)
    raise WishError(wish.place(f"flags.{flag}"), f"is {described(value)}", "give a count of threads from 1")


def _compute(sheet: Sheet, wish: InstanceWish, cpus: int, share: float, wished: Mapping[str, int]) -> dict[str, int]:
    """Split the CPUs between the two pools that compute.

    Both are always set: with one alone the server lets TensorFlow choose the other (model_servers/server.cc).
    """
    planned = _split(cpus, share, wish.profile)
    result = {}
    for pool, other in (("intra_op", "inter_op"), ("inter_op", "intra_op")):
        number, reason = planned[pool]
        if other in wished and pool not in wished:
            number, reason = max(1, cpus - wished[other]), f"what the wish for {other} leaves of {counted(cpus, 'CPU')}"
        result[pool] = sheet.settle(f"threads.{pool}", number, reason, wished.get(pool))
    if sum(result.values()) > max(2, cpus):
        pool = max(wished, key=lambda pool: wished[pool] if pool in planned else 0)
        raise WishError(
            wish.place(f"flags.{FLAGS[pool]}"),
            f"brings the computing threads to {result['intra_op']} intra-op + {result['inter_op']} inter-op,"
            f" and the instance is pinned to {counted(cpus, 'CPU')}",
            f"keep the sum within {max(2, cpus)}, or give the instance more cores",
        )
    return result


@lru_cache(SHAPES)
def _split(cpus: int, share: float, profile: str) -> Mapping[str, tuple[int, str]]:
    """Return the planned threads of both computing pools, each with the reason."""
    inter = min(max(1, int(cpus * share + 0.5)), max(1, cpus - 1))
    why = f"profile {profile}: {SPLIT_REASONS[profile]}"
    if cpus == 1:
        why = "one thread of each pool, the least that the server works with, shares the only CPU"
    threads = {"intra_op": max(1, cpus - inter), "inter_op": inter}
    return {pool: (number, f"{number} of {counted(cpus, 'CPU')}, {why}") for pool, number in threads.items()}


@lru_cache(SHAPES)
def _callers(cpus: int, per_cpu: float, batch_share: float, sizes: tuple[int, int, int] | None) -> tuple[int, str]:
    """Return how many requests a pool should hold at a time, and why: each blocks its thread until it is answered.

    ``sizes``, for an instance that forms batches: how many run at a time, how many may wait, and the size of each.
    """
    patient = int(1 / batch_share)
    running, waiting, size = sizes or (0, 0, 0)
    held = (running + waiting) * size
    wanted, reason = int(cpus * per_cpu), f"{per_cpu:g} requests in flight for each of {counted(cpus, 'CPU')}"
    if wanted < patient:
        wanted = patient
        reason = (
            f"{patient} callers, as many as one CPU answers within the objective where each takes 1/{patient} of it"
        )
    if held > wanted:
        wanted, reason = held, "a request for each place in the batches that run and that may wait"
    # Running batches must be full while one more forms.
    least = (running + 1) * size
    most = min(max(PLENTY_OF_REQUEST_THREADS, least), MOST_REQUEST_THREADS)
    if wanted > most:
        wanted, reason = most, f"{reason}, cut to {most} because more waiting threads bring no benefit"
        if least > most:
            places = most // (running + 1)
            reason += f"; requests for one item each fill {places} places of a batch"
    return wanted, reason


def _requests(
    sheet: Sheet,
    wish: InstanceWish,
    callers: tuple[int, str],
    batching: Batching | None,
    wished: Mapping[str, int],
) -> dict[str, int]:
    """Size the request pools, whose threads hold one request each and mostly wait for the computing threads."""
    result = {}
    for pool, (idle, why) in THREADS_WITHOUT_REQUEST.items():
        planned, reason = callers[0] + idle, f"{callers[1]}; {why}"
        result[pool] = sheet.settle(f"threads.{pool}", planned, reason, wished.get(pool))
        holds = result[pool] - idle
        size = largest_batch(batching) if batching else 0
        if 0 < holds < size:
            field = "max_execution_batch_size" if "max_execution_batch_size" in (batching or {}) else "max_batch_size"
            # Both request pools at this size still fit in the unit's TasksMax=.
            more = f"use at least {size + idle}, or " if size <= MOST_REQUEST_THREADS else ""
            sheet.warnings.append(
                f"{wish.place('flags.' + FLAGS[pool])}: is {result[pool]}, which holds {counted(holds, 'request')} at a"
                f" time, and those for one item each never fill a batch of {size}; {more}lower"
                f" batching.{field} to {holds}"
            )
    return result


def _models(sheet: Sheet, wished: Mapping[str, int]) -> dict[str, int]:
    """Size the pools that load and unload; with 0 threads, that work would run in the manager's own loop."""
    why = "a model that fails and is retried does not hold back the others; more would only add to the memory of swaps"
    return {
        "load": sheet.settle("threads.load", LOAD_THREADS, why, wished.get("load")),
        "unload": sheet.settle("threads.unload", 1, "unloads do not wait behind loads", wished.get("unload")),
    }
