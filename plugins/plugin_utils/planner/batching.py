# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Batching parameters of an instance.

The rules come from TensorFlow Serving's batching guide (tensorflow_serving/batching/README.md, "Batch Scheduling
Parameters and Tuning"). Its numbers are starting points for measurements, and so are these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from ..server import textproto_check
from ..server.textproto_rules import DEFAULT_MAX_BATCH_SIZE
from ..wishes.read import InstanceWish
from .reasons import SHAPES, Sheet, T
from .schema import Batching

# A GPU runs one batch after another. A few in flight hide the copies to and from it and the CPU work before and after;
# more would only wait inside the GPU, where no queue bound applies.
BATCHES_IN_FLIGHT_PER_GPU = 4
# The guide's range for online serving ends at 10 ms.
LONGEST_TIMEOUT_MICROS = 10_000
# Waiting for a batch to fill is worth at most a tenth of the objective, whatever a profile says.
LARGEST_TIMEOUT_SHARE = 0.1
# Tolerance for binary fractions: 90 ms must hold 30 batches of 3 ms.
ROUNDING = 1e-9
# No longer queue is of any use, however long the objective and short the batches.
MOST_ROUNDS = 1000
# Smaller batches save next to nothing; more than four times the profile's size is left to measurement.
SMALLEST_BATCH = 4
LARGEST_BATCH_FACTOR = 4

LAST_ALLOWED = "the last of allowed_batch_sizes, as the server demands"
# Why fields are left unset that only users set.
REASONS = {
    "enable_large_batch_splitting": (
        "a request of more rows than a batch is refused, since one that is cut holds several batch threads and places"
        " in the queue"
    )
}

# Keys under ``batching`` for the planner, which are not fields of BatchingParameters.
OWN_KEYS = ("enabled", "expected_batch_ms")


@dataclass
class _Case:
    """The instance being planned."""

    sheet: Sheet
    wish: InstanceWish
    profile: Mapping[str, Any]
    cpus: int
    gpus: int

    @property
    def slo_ms(self) -> float:
        """The latency objective for 99 of 100 requests."""
        return self.wish.slo_p99_ms or self.profile["slo_p99_ms"]

    @property
    def splits(self) -> bool:
        """Whether the server cuts requests of more rows than a batch."""
        return bool(self.wish.batching.get("enable_large_batch_splitting"))

    @property
    def hardware(self) -> str:
        """The hardware that batches run on, by its key in the profiles."""
        return "gpu" if self.gpus else "cpu"

    def settle(self, field: str, planned: T, reason: str) -> T:
        """Return the value of a field of BatchingParameters, the user's before the planned one."""
        wished: T | None = self.wish.batching.get(field)
        return self.sheet.settle(f"batching.{field}", planned, reason, wished)

    def refuse(self, field: str, problem: str, remedy: str) -> WishError:
        """Return the refusal of a field that the user set."""
        return WishError(self.wish.place(f"batching.{field}"), problem, remedy)


def batching(sheet: Sheet, wish: InstanceWish, cpus: int, gpus: int, policy: Mapping[str, Any]) -> Batching | None:
    """Return the BatchingParameters of an instance as plain values, or None if it serves request by request.

    Raise WishError if the user's settings cannot work.
    """
    case = _Case(sheet, wish, policy["profiles"][wish.profile], cpus, gpus)
    if not _enabled(case, policy["batching"]):
        return None
    size, timeout, threads = _batch_size(case), _timeout(case), _threads(case)
    waiting = _queue(case, timeout, threads)
    largest = _largest_request(case, size, waiting) if case.splits else size
    result: Batching = {
        "max_batch_size": largest,
        "batch_timeout_micros": timeout,
        "num_batch_threads": threads,
        "max_enqueued_batches": waiting,
    }
    if case.splits:
        result["max_execution_batch_size"] = size
    sizes = _allowed_sizes(case, size, largest)
    if sizes:
        result["allowed_batch_sizes"] = sizes
    others = [field for field in wish.batching if field not in result and field not in OWN_KEYS]
    more = {field: case.settle(field, None, REASONS.get(field, "the server's default is right")) for field in others}
    result.update(cast("Batching", more))
    if wish.batching:
        textproto_check.check(
            result,
            "BatchingParameters",
            wish.place("batching"),
            policy["version"],
            allow_unsurveyed=policy["allow_unsurveyed_release"],
        )
    return result


def _enabled(case: _Case, choice: str) -> bool:
    profile = case.wish.profile
    planned = bool(case.profile["batching"]) and choice == "auto"
    if planned:
        reason = f"profile {profile} forms batches; every input and output needs the batch as its first dimension"
    elif choice == "off":
        reason = "the policy turns batching off"
    else:
        reason = (
            f"profile {profile} answers each request at once: waiting for others would only add to the time of the"
            " first, and a bigger batch to the time of all"
        )
    # Setting any field of batching means that batches are wanted.
    wished: bool | None = case.wish.batching.get("enabled", True if case.wish.batching else None)
    return case.sheet.settle("batching", planned, reason, None if wished == planned else wished)


def _batch_size(case: _Case) -> int:
    """Scale the profile's size with the objective: past saturation, a batch takes time in proportion to its size."""
    allowed: list[int] = case.wish.batching.get("allowed_batch_sizes", [])
    base, usual = case.profile["max_batch_size"][case.hardware], case.profile["slo_p99_ms"]
    size, reason = _in_proportion(base, usual, case.slo_ms, case.hardware)
    if case.splits:
        return case.settle("max_execution_batch_size", *_within(size, reason, allowed, case.wish.batching))
    if allowed:
        return case.settle("max_batch_size", allowed[-1], LAST_ALLOWED)
    return case.settle("max_batch_size", size, reason)


def _within(size: int, reason: str, allowed: Sequence[int], wished: Mapping[str, int]) -> tuple[int, str]:
    """Return the size of a batch that is an allowed one and no more than the largest request."""
    if allowed:
        return max([each for each in allowed if each <= size], default=allowed[0]), f"of allowed_batch_sizes; {reason}"
    largest = wished.get("max_batch_size", size)
    return (size, reason) if size <= largest else (largest, f"all of max_batch_size: {reason}")


def _largest_request(case: _Case, size: int, waiting: int) -> int:
    """Return the rows of the largest request that is accepted, where larger ones than a batch are cut."""
    allowed: list[int] = case.wish.batching.get("allowed_batch_sizes", [])
    if allowed:
        return case.settle("max_batch_size", allowed[-1], LAST_ALLOWED)
    most = max(size, min(DEFAULT_MAX_BATCH_SIZE, size * waiting))
    reason = (
        f"requests of more rows than a batch are cut: up to {DEFAULT_MAX_BATCH_SIZE} rows, the server's own limit, and"
        f" no more than {counted(waiting, 'batch', 'batches')} of {size}, which may wait"
    )
    return case.settle("max_batch_size", most, reason)


@lru_cache(SHAPES)
def _in_proportion(base: int, usual: float, slo_ms: float, hardware: str) -> tuple[int, str]:
    fitting = 2 ** math.floor(math.log2(max(1.0, base * slo_ms / usual)))
    size = max(min(SMALLEST_BATCH, base), min(LARGEST_BATCH_FACTOR * base, fitting))
    return size, f"{base} for {usual:g} ms on a {hardware.upper()}, in proportion to {slo_ms:g} ms, as a power of two"


def _timeout(case: _Case) -> int:
    share = min(case.profile["timeout_share"][case.hardware], LARGEST_TIMEOUT_SHARE)
    wished = case.wish.batching.get("batch_timeout_micros", 0)
    if wished >= case.slo_ms * 1000:
        raise case.refuse(
            "batch_timeout_micros",
            f"lets a request wait {wished / 1000:g} ms for others, the objective is {case.slo_ms:g} ms in all",
            f"use at most {int(case.slo_ms * 1000 * LARGEST_TIMEOUT_SHARE)}, or raise slo_p99_ms",
        )
    return case.settle("batch_timeout_micros", *_part_of_objective(case.slo_ms, share))


@lru_cache(SHAPES)
def _part_of_objective(slo_ms: float, share: float) -> tuple[int, str]:
    timeout = min(int(slo_ms * 1000 * share), LONGEST_TIMEOUT_MICROS)
    if not share:
        return (
            timeout,
            "a free thread takes what is there at once, so batches form only under load and cost nothing otherwise",
        )
    return timeout, f"{share:.0%} of {slo_ms:g} ms, at most {LONGEST_TIMEOUT_MICROS // 1000} ms"


def _threads(case: _Case) -> int:
    wished = case.wish.batching.get("num_batch_threads", 1)
    if wished > case.cpus:
        raise case.refuse(
            "num_batch_threads",
            f"is {wished}, and the instance is pinned to {counted(case.cpus, 'CPU')}",
            f"use at most {case.cpus}, or give the instance more cores",
        )
    return case.settle("num_batch_threads", *_at_a_time(case.cpus, case.gpus))


@lru_cache(SHAPES)
def _at_a_time(cpus: int, gpus: int) -> tuple[int, str]:
    if not gpus:
        return cpus, f"as many batches at a time as there are CPUs ({cpus})"
    whose = "its GPU" if gpus == 1 else "each of its GPUs"
    reason = f"{BATCHES_IN_FLIGHT_PER_GPU} batches in flight for {whose}, and no more than CPUs ({cpus})"
    return min(cpus, BATCHES_IN_FLIGHT_PER_GPU * gpus), reason


def _queue(case: _Case, timeout_micros: int, threads: int) -> int:
    """Return the number of batches that may wait: as many as the objective has time for.

    The guide's one waiting batch for each thread suits fleets whose callers retry another server at once; here it shed
    calls that would have been answered in a tenth of their objective. Each model has its own queue and all queues share
    the threads, so with several models under full load batches must run faster; the reason says how fast. The bound
    does not depend on the number of models, or each added model would need a restart.
    """
    batch_ms, source = _batch_ms(case)
    wished = case.wish.batching.get("max_enqueued_batches")
    models = len(case.wish.models)
    room, reason = _room_to_wait(case.slo_ms, timeout_micros, threads, batch_ms, source, case.gpus, models, wished)
    if not room and not wished:
        case.sheet.warnings.append(
            f"{case.wish.path}.batching.expected_batch_ms: is {batch_ms:g}, so within {case.slo_ms:g} ms no batch can"
            " wait for another, and the server lets one wait at the least: a request in it is late; lower"
            " max_batch_size and measure again, or raise slo_p99_ms"
        )
    return case.settle("max_enqueued_batches", max(1, room), reason)


@lru_cache(SHAPES)
def _room_to_wait(
    slo_ms: float,
    timeout_micros: int,
    threads: int,
    batch_ms: float,
    source: str,
    gpus: int,
    models: int,
    wished: int | None,
) -> tuple[int, str]:
    """Return how many batches may wait, and why; ``source`` tells where ``batch_ms`` comes from."""
    room = waiting_batches(slo_ms, timeout_micros, threads, batch_ms, gpus)
    held = wished or max(1, room)
    longest = longest_batch_ms(slo_ms, timeout_micros, threads, held * models, gpus)
    full = f"behind {models} full queues" if models > 1 else "behind a full queue"
    return room, (
        f"with {batch_ms:.3g} ms for a batch ({source}), {slo_ms:g} ms have time for {room} to wait beside those"
        f" in {counted(threads, 'batch thread')}; {full} of {held} a request keeps {slo_ms:g} ms while a batch"
        f" runs for at most {longest:.3g} ms"
    )


def _batch_ms(case: _Case) -> tuple[float, str]:
    """Return the expected run time of a full batch in ms, and its source."""
    measured = case.wish.batching.get("expected_batch_ms")
    if measured is None:
        share = case.profile["batch_share"]
        source = f"assumed: {share:.3g} of the objective; measure it and set batching.expected_batch_ms"
        return case.slo_ms * share, source
    if measured >= case.slo_ms:
        raise case.refuse(
            "expected_batch_ms",
            f"is {measured:g}, and the objective is {case.slo_ms:g} ms in all",
            "lower max_batch_size and measure again, or raise slo_p99_ms",
        )
    return measured, "expected_batch_ms"


def waiting_batches(slo_ms: float, timeout_micros: int, threads: int, batch_ms: float, gpus: int) -> int:
    """Return how many batches may wait, in all queues, if the last of them is to meet the objective.

    On CPUs the threads run in parallel; a GPU takes the batches of its threads one after another.
    """
    rounds = int(min(max(0.0, slo_ms - timeout_micros / 1000) / batch_ms + ROUNDING, MOST_ROUNDS))
    return max(0, rounds * (gpus or threads) - threads)


def longest_batch_ms(slo_ms: float, timeout_micros: int, threads: int, waiting: int, gpus: int) -> float:
    """Return how long one batch may run if a request behind ``waiting`` batches is to meet the objective."""
    rounds = math.ceil((threads + waiting) / (gpus or threads))
    return max(0.0, slo_ms - timeout_micros / 1000) / rounds


def _allowed_sizes(case: _Case, largest: int, request: int) -> list[int] | None:
    if not case.gpus:
        reason = "CPUs handle any size; padding would compute rows that are not needed"
        return case.settle("allowed_batch_sizes", None, reason)
    sizes = [2**power for power in range(largest.bit_length()) if 2**power < largest] + [largest]
    reason = (
        f"powers of two up to {'max_execution_batch_size' if case.splits else 'max_batch_size'}: kernels are chosen and"
        " compiled once for each size, and padding at most doubles a batch"
    )
    if request > largest:
        # The server compares the last one with max_batch_size, cut or not (bundle_factory_util.cc).
        sizes, reason = [*sizes, request], f"{reason}; the last is max_batch_size, as the server demands"
    return case.settle("allowed_batch_sizes", sizes, reason)
