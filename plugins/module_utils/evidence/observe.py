# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One call of the module `host_samples`: the conditions, and samples for as long as they are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import WishError
from ..host import plan_record, run_lock
from ..host.run import Run
from ..host.sysfs import Tree
from ..serving.units import Units
from . import gpus as gpu_facts
from . import memory
from .conditions import conditions
from .poll import Poll
from .samples import PERIOD_S, Sampler, record, versions

TEMPLATE = "tfserving@{name}.service"
# A measurement takes minutes, a night of tuning some hours.
LONGEST_S = 86400
# A reload shows for as long as the new version serves. Each question counts as a request of the model in the server's
# own counters, as every call of its REST interface does.
VERSIONS_PERIOD_S = 5.0
# A call of nvidia-smi takes 30 to 80 ms of CPU: less than one percent of a core.
GPUS_PERIOD_S = 10.0
# A trace takes ten seconds, in which more is to be seen.
GPU_MEMORY_PERIOD_S = 2.0


def observe(
    options: Mapping[str, Any], run: Run, tree: Tree | None = None,
    recorder: Callable[..., Any] = record,
) -> dict[str, Any]:  # fmt: skip
    """Return the module's result. Raises WishError, RuntimeError if systemd does not answer."""
    tree = tree or Tree()
    if not 0 <= options["seconds"] <= LONGEST_S:
        remedy = f"write 0 for the conditions alone, or at most {LONGEST_S}"
        raise WishError("seconds", f"{options['seconds']} is out of bounds", remedy)
    plan = plan_record.read(options["record"])
    instance = plan_record.instance(plan, options["instance"])
    unit = Units(run, TEMPLATE, Path(tree.path("proc"))).show(instance["name"])
    found: dict[str, Any] = {"conditions": conditions(tree, plan, instance, unit), "samples": []}
    if not options["seconds"]:
        return found
    polls = {**_polls(instance), **(_memory(tree, instance, unit.pid) if options["memory"] else {})}
    sampler = Sampler(tree, instance, unit.pid, polls)
    stop_file, has_ended = options["stop_file"], _end_of_run(options["lock"])
    if not stop_file:
        return {**found, "samples": recorder(sampler.take, options["seconds"], has_ended)}
    _begin(stop_file)
    try:
        return {
            **found,
            "samples": recorder(sampler.take, options["seconds"], lambda: not os.path.exists(stop_file) or has_ended()),
        }
    finally:
        _remove(stop_file)


def _polls(instance: Mapping[str, Any]) -> dict[str, Poll]:
    """Return the questions beside the samples: the versions, and the GPUs of an instance that has some."""
    asked = instance.get("gpus") or []
    return {
        "versions": Poll(lambda: versions(instance), VERSIONS_PERIOD_S),
        "gpu": Poll(lambda: gpu_facts.read(asked) if asked else None, GPUS_PERIOD_S),
    }


def _memory(tree: Tree, instance: Mapping[str, Any], pid: int) -> dict[str, Poll]:
    """Return the questions for the memory of the process and of its GPUs."""
    asked = instance.get("gpus") or []
    return {
        "memory": Poll(lambda: memory.read(tree, pid), PERIOD_S),
        "gpu_memory": Poll(lambda: memory.gpus(asked), GPU_MEMORY_PERIOD_S),
    }


def _end_of_run(folder: str | None) -> Callable[[], bool]:
    """Return what tells whether the run that holds the lock in ``folder`` has ended; without a lock none is under way.

    An interrupted run removes no file, but its lock is released however it ends.
    """
    if not folder:
        return lambda: False
    run = _holder(folder)
    return lambda: not run or _holder(folder) != run


def _holder(folder: str) -> str:
    """Return the id of the run that holds the lock, or an empty text; so too where that cannot be read."""
    try:
        found = run_lock.read(folder)
    except OSError:
        return ""
    return str(found["run"]) if found and found["lapses_in_s"] > 0 else ""


def _begin(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        problem = "exists, so that somebody samples already, or was killed"
        raise WishError(path, problem, "remove it, or name another stop_file") from None
    except OSError as error:
        raise WishError(
            path, f"cannot be made ({error.strerror})", "name a stop_file in a directory like /run"
        ) from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        # Whoever wanted the end has removed it.
        return
