# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `tfserving_instances`, checked and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..server import flags as server_flags
from ..tables import surveyed
from . import checks as fields
from . import environment as server_environment
from . import lists as wish_lists
from .models import MODELS

INSTANCES = "tfserving_instances"
TUNED = "tfserving_tuned"

PROFILES = ("latency", "balanced", "throughput")

# The first instance takes the ports of the upstream documentation, each further one those ten higher.
FIRST_PORTS = {"grpc": 8500, "rest": 8501}
PORT_STEP = 10
LAST_PORT = 65535
# Below this only root may listen (net.ipv4.ip_unprivileged_port_start), and the servers run without capabilities.
FIRST_UNPRIVILEGED_PORT = 1024


@dataclass
class InstanceWish:
    """One normalised entry of `tfserving_instances`."""

    path: str
    name: str
    models: list[str]
    ports: dict[str, int]
    profile: str = "balanced"
    slo_p99_ms: float | None = None
    gpus: int | list[int | str] = 0
    """A count, or a list of indexes, UUIDs or MIG ids."""
    cpus: int | None = None
    """A count of cores, or None for a share of the free ones."""
    batching: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    weight: float = 1
    tuned: dict[str, str] = field(default_factory=dict)
    """The settings that come from `tfserving_tuned`, such as `batching.max_batch_size`, each with what was measured."""

    def place(self, setting: str) -> str:
        """Return the path of a setting in the variables."""
        return f"{TUNED}.{self.name}.{setting}" if setting in self.tuned else f"{self.path}.{setting}"


BATCHING_FIELDS: dict[str, fields.Check] = {
    "enabled": scalars.boolean,
    "expected_batch_ms": fields.milliseconds,
    "max_batch_size": fields.count(),
    "batch_timeout_micros": fields.whole(0, 3_600_000_000, "microseconds"),
    "max_enqueued_batches": fields.count(),
    "num_batch_threads": fields.count(),
    "thread_pool_name": fields.text,
    "enable_large_batch_splitting": scalars.boolean,
    "max_execution_batch_size": fields.count(),
    "allowed_batch_sizes": fields.sizes,
    "pad_variable_length_inputs": scalars.boolean,
}


def batching(path: str, value: Any) -> dict[str, Any]:
    """Check the key `batching` of an instance."""
    wish = fields.fields(path, value, "batching", BATCHING_FIELDS)
    if wish.get("enabled") is False and len(wish) > 1:
        idle = next(key for key in wish if key != "enabled")
        raise WishError(f"{path}.{idle}", "is set while enabled is false", f"remove {idle} or enabled")
    return wish


def _unsurveyed_batching(version: str, permitted: bool) -> fields.Check:
    """Return the check of ``batching`` for a release that may have fields no surveyed release has."""

    def check(path: str, value: Any) -> dict[str, Any]:
        known, more = value, {}
        if isinstance(value, Mapping):
            known = {key: entry for key, entry in value.items() if key in BATCHING_FIELDS}
            more = {key: fields.plain(entry) for key, entry in value.items() if key not in known and entry is not None}
        for key in more:
            if not permitted:
                guess = nearest(key, BATCHING_FIELDS)
                raise surveyed.unknown(key_path(path, key), "field in BatchingParameters", version, guess)
        return {**batching(path, known), **more}

    return check


def _flags(path: str, value: Any) -> dict[str, Any]:
    # The planner checks the flags themselves, together with those that it sets.
    given = {name: entry for name, entry in fields.mapping(path, value).items() if entry is not None}
    return server_flags.meant(given)


FIELDS: dict[str, fields.Check] = {
    "name": fields.instance_name,
    "models": fields.model_names,
    "profile": fields.one_of(*PROFILES),
    "slo_p99_ms": fields.milliseconds,
    "gpus": fields.gpus,
    "cpus": fields.cpus,
    "ports": fields.ports,
    "batching": batching,
    "flags": _flags,
    "environment": server_environment.wished,
    "weight": fields.positive,
}


def read(value: Any, models: list[str], policy: Mapping[str, Any], refusals: Refusals) -> list[InstanceWish]:
    """Return the instances in the wishes, and add what is wrong to ``refusals``.

    ``models`` are the names of the known models; ``policy`` is complete.
    """
    wishes = wish_lists.entries(INSTANCES, value, refusals)
    if not wishes and models and value in (None, []):
        # A list of hosts and one model are a complete inventory.
        wishes = [{"name": "main", "models": list(dict.fromkeys(models))}]
    known = dict(FIELDS)
    if surveyed.is_newer(policy["version"]):
        known["batching"] = _unsurveyed_batching(policy["version"], policy["allow_unsurveyed_release"])
    preloads = policy["jemalloc"]["enabled"]
    instances = [_instance(position, wish, models, known, preloads, refusals) for position, wish in enumerate(wishes)]
    found = [instance for instance in instances if instance]
    _refuse_shared_ports(found, refusals)
    return found


def _instance(
    position: int,
    wish: Any,
    models: list[str],
    known: Mapping[str, fields.Check],
    preloads: bool,
    refusals: Refusals,
) -> InstanceWish | None:
    path = f"{INSTANCES}[{position}]"
    given = wish_lists.entry(path, wish, "an instance", known, refusals)
    if given is None:
        return None
    if wish.get("models") is None:
        refusals.add(WishError(f"{path}.models", "is missing", "list the models that the instance serves"))
    for place, name in enumerate(given.get("models", ())):
        if name not in models:
            remedy = nearest(name, models) or f"add it to {MODELS}"
            refusals.add(WishError(f"{path}.models[{place}]", f"names '{name}', which is not in {MODELS}", remedy))
    if preloads and "LD_PRELOAD" in given.get("environment", {}):
        problem = "would replace the memory allocator, which is preloaded in the same way"
        remedy = "remove it, or set tfserving_allocator to another value than jemalloc"
        refusals.add(WishError(f"{path}.environment.LD_PRELOAD", problem, remedy))
    usual = {kind: port + PORT_STEP * position for kind, port in FIRST_PORTS.items()}
    given["ports"] = {**usual, **given.get("ports", {})}
    return InstanceWish(**{"path": path, "name": "", "models": [], **given})


def _refuse_shared_ports(instances: list[InstanceWish], refusals: Refusals) -> None:
    """Refuse ports that two listeners share: the second server would keep running without REST and metrics."""
    owner: dict[int, str] = {}
    for instance in instances:
        for kind, port in instance.ports.items():
            place = f"{instance.path}.ports.{kind}"
            if port > LAST_PORT:
                refusals.add(WishError(place, f"would be {port} by default", "give the instance ports of its own"))
            elif owner.setdefault(port, place) != place:
                refusals.add(WishError(place, f"is {port}, which is already {owner[port]}", "choose a port of its own"))


def warnings(instances: list[InstanceWish]) -> list[str]:
    """Return warnings of what is valid but probably unintended."""
    return [
        f"{instance.path}.ports.{kind}: is {port}, and below {FIRST_UNPRIVILEGED_PORT} only root may listen unless"
        " net.ipv4.ip_unprivileged_port_start is lowered on the host"
        for instance in instances
        for kind, port in instance.ports.items()
        if port < FIRST_UNPRIVILEGED_PORT
    ]
