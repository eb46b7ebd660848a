# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of one instance that a search may try, and the plan of each.

A setting becomes a plan only by the planner: as wishes of the instance, so what the planner refuses is never tried.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology

from ..planner import plan as planner
from ..planner.schema import InstancePlan
from ..planner.threads import FLAGS
from ..wishes.instances import INSTANCES

# The pools of threads that a setting sizes.
POOLS = ("intra_op", "inter_op", "grpc", "rest")
# The fields of batching that a setting sets.
SIZES = ("max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches")


@dataclass(frozen=True)
class Batches:
    """How an instance forms batches."""

    max_batch_size: int
    batch_timeout_micros: int
    num_batch_threads: int
    max_enqueued_batches: int
    allowed_batch_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One point of the search space; equal settings give equal plans."""

    batches: Batches | None
    """None serves request by request."""
    intra_op: int
    inter_op: int
    grpc: int
    rest: int

    def with_batches(self, **changes: Any) -> Setting:
        """Return this setting with other batches."""
        if self.batches is None:
            raise ValueError("a setting without batches has none to change")
        return dataclasses.replace(self, batches=dataclasses.replace(self.batches, **changes))

    def to_json(self) -> dict[str, Any]:
        """Return the setting as plain data: ``{"batching": {...} or None, "threads": {...}}``."""
        return {"batching": _fields(self.batches), "threads": {pool: getattr(self, pool) for pool in POOLS}}


def from_json(data: Any) -> Setting:
    """Return the setting that ``to_json`` wrote; raise ValueError for anything else."""
    try:
        batching, threads = data["batching"], data["threads"]
        batches = None
        if batching is not None:
            allowed = tuple(int(size) for size in batching.get("allowed_batch_sizes", ()))
            batches = Batches(**{name: int(batching[name]) for name in SIZES}, allowed_batch_sizes=allowed)
        return Setting(batches, *(int(threads[pool]) for pool in POOLS))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a setting") from error


def _fields(batches: Batches | None) -> dict[str, Any] | None:
    if batches is None:
        return None
    sizes = {"allowed_batch_sizes": list(batches.allowed_batch_sizes)} if batches.allowed_batch_sizes else {}
    return {**{name: getattr(batches, name) for name in SIZES}, **sizes}


def wish(setting: Setting) -> dict[str, Any]:
    """Return the keys of an instance's wish that ask for a setting."""
    batching = _fields(setting.batches) or {"enabled": False}
    return {"batching": batching, "flags": {FLAGS[pool]: getattr(setting, pool) for pool in POOLS}}


def of_plan(plan: InstancePlan) -> Setting:
    """Return the setting that a planned instance has."""
    batching = plan["batching"]
    batches = batching and Batches(
        batching["max_batch_size"],
        batching["batch_timeout_micros"],
        batching["num_batch_threads"],
        batching["max_enqueued_batches"],
        tuple(batching.get("allowed_batch_sizes") or ()),
    )
    threads = plan["threads"]
    return Setting(batches or None, threads["intra_op"], threads["inter_op"], threads["grpc"], threads["rest"])


@dataclass(frozen=True)
class Context:
    """What the planner is given for the host of one instance."""

    topology: Topology
    instances: Any
    models: Any
    policy: Mapping[str, Any]
    key: str
    instance: str

    def planned(self) -> InstancePlan:
        """Return the plan of the instance as the inventory has it."""
        return self._plan(self.instances, self.policy)

    def plan_of(self, setting: Setting) -> InstancePlan:
        """Return the plan of the instance with a setting; raise WishError if the planner refuses it."""
        instances = [self._asking(each, setting) for each in self._listed()]
        # What an earlier run has found is replaced by the setting, not added to it.
        tuned = {name: kept for name, kept in (self.policy.get("tuned") or {}).items() if name != self.instance}
        return self._plan(instances, {**self.policy, "tuned": tuned})

    def canonical(self, setting: Setting) -> Setting:
        """Return the setting that the planner makes of one, such as with the sizes that batches on a GPU take."""
        return of_plan(self.plan_of(setting))

    def _listed(self) -> list[Any]:
        """Return the instances, the one that stands for all models if none is listed."""
        if self.instances:
            return list(self.instances)
        return [{"name": self.instance, "models": [model["name"] for model in self.models]}]

    def _asking(self, instance: Any, setting: Setting) -> Any:
        if not isinstance(instance, Mapping) or instance.get("name") != self.instance:
            return instance
        asked = wish(setting)
        if setting.batches:
            # Fields beside the search space, such as padding, stay as the inventory has them.
            kept = {name: value for name, value in (instance.get("batching") or {}).items() if name not in _REPLACED}
            asked["batching"] = {**kept, **asked["batching"]}
        return {**instance, "batching": asked["batching"], "flags": {**(instance.get("flags") or {}), **asked["flags"]}}

    def _plan(self, instances: Any, policy: Mapping[str, Any]) -> InstancePlan:
        planned = planner.host_plan(self.topology, instances, self.models, policy, self.key)["instances"]
        found = next((each for each in planned if each["name"] == self.instance), None)
        if found is None:
            names = ", ".join(each["name"] for each in planned)
            raise WishError("instance", "is not an instance of this host", f"name one of {INSTANCES}: {names}")
        return found


_REPLACED = (*SIZES, "allowed_batch_sizes", "enabled")


@dataclass(frozen=True)
class Machine:
    """What an instance has to compute with."""

    cpus: int
    gpus: int

    def servers(self, setting: Setting, busy_cpus: float = 1.0) -> int:
        """Return how many calls of the model run at a time; ``busy_cpus`` is how many CPUs one of them keeps busy."""
        most = self.gpus or max(1, math.floor(self.cpus / busy_cpus + 1e-9))
        return min(setting.batches.num_batch_threads, most) if setting.batches else most


def machine(plan: InstancePlan) -> Machine:
    """Return what a planned instance has to compute with."""
    return Machine(len(cpu_list.parse(plan["cpus"])), len(plan["gpus"]))
