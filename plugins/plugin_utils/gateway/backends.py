# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The backends: one for each model and protocol, and more for roll-outs and for versions that some hosts lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import joined
from . import limits
from . import servers as server_plan
from .schema import Backend, Rollout
from .servers import Serving

# A host checks each model once a second for each gateway, protocol and model. Beyond these, the gate alone answers for
# the others of an instance, which it does anyway.
MOST_CHECKED = 8

# The servers of all backends whose checks, gate included, took 7 % of a core. A fleet with more, as one has whose
# instances serve many models, checks each instance in one backend, and the others follow that.
MOST_CHECKS = 400


@dataclass(frozen=True)
class Site:
    """What concerns all backends."""

    settings: Mapping[str, Any]
    gateways: int
    rollouts: Mapping[str, Rollout]


@dataclass(frozen=True)
class Group:
    """The servers for one kind of a model's calls, and the end of the backend's name: ``_canary``, ``_v7``."""

    end: str
    arm: str
    members: Sequence[Serving]
    version: int | None = None

    @property
    def is_old(self) -> bool:
        """Whether these are old servers."""
        return any(each.is_old for each in self.members)


def by_model(found: Sequence[Serving]) -> dict[str, list[Serving]]:
    """Return the instances that serve each model."""
    models: dict[str, list[Serving]] = {}
    for serving in found:
        for name in serving.instance["models"]:
            models.setdefault(name, []).append(serving)
    return dict(sorted(models.items()))


def groups(
    model: str, members: Sequence[Serving], rollout: Rollout | None, olds: Sequence[Serving] = ()
) -> list[Group]:
    """Return the groups of a model's servers."""
    arms = _beside(members, olds) if olds else _arms(members, rollout)
    return [*arms, *_versions(model, members), *_labels(model, members)]


def _beside(members: Sequence[Serving], olds: Sequence[Serving]) -> list[Group]:
    """Return the new instances as the arm whose share grows, and the old servers as that of all other calls."""
    return [Group("", "", members), Group("_canary", "canary", members), Group("_control", "control", olds)]


def _arms(members: Sequence[Serving], rollout: Rollout | None) -> list[Group]:
    """Return the servers that are in no arm of a roll-out, and those of each arm.

    Where a roll-out takes all hosts, those of the control arm answer for the others too, else everyone does.
    """
    if not rollout:
        return [Group("", "", members)]
    canary = [each for each in members if each.host in rollout["canary"]]
    control = [each for each in members if each.host in rollout["control"]]
    rest = [each for each in members if each.host not in {*rollout["canary"], *rollout["control"]}]
    arms = [("_canary", "canary", canary), ("_control", "control", control)]
    return [Group("", "", rest or control or members), *(Group(*arm) for arm in arms if arm[2])]


def _versions(model: str, members: Sequence[Serving]) -> list[Group]:
    """Return the servers of each version that not every host has."""
    having = {each.name: each.versions(model) for each in members}
    known = sorted(set().union(*having.values()))
    found = {version: [each for each in members if version in having[each.name]] for version in known}
    return [
        Group(f"_v{version}", "version", some, version) for version, some in found.items() if len(some) < len(members)
    ]


def _labels(model: str, members: Sequence[Serving]) -> list[Group]:
    having = {each.name: each.labels(model) for each in members}
    known = sorted(set().union(*having.values()))
    found = {label: [each for each in members if label in having[each.name]] for label in known}
    return [Group(f"_label_{label}", "label", some) for label, some in found.items() if len(some) < len(members)]


def backend(site: Site, protocol: str, model: str, group: Group) -> Backend:
    """Return one backend."""
    return _backend(site, f"{protocol}_{model}{group.end}", protocol, model, group)


def of_instance(site: Site, name: str, members: Sequence[Serving]) -> Backend:
    """Return the backend of all connections to the gRPC port of an instance, whatever they carry."""
    return _backend(site, f"grpc_tcp_{name}", "tcp", "", Group("", "", members))


def _backend(site: Site, name: str, protocol: str, model: str, group: Group) -> Backend:
    settings, members = site.settings, group.members
    instances = [each.instance for each in members]
    checks, why_checks = _checks(model, group)
    queue, why_queue = limits.queue_ms(instances, settings["gateway_queue_share"])
    longest = max(each.fleet["longest_call_s"] for each in members)
    wait, why_wait = limits.server_ms(longest, settings["gateway_margin_s"])
    wished, gateways = settings["gateway_maxconn"], site.gateways
    return {
        "name": name,
        "protocol": protocol,
        "model": model,
        "arm": group.arm,
        "gate_port": 0 if group.is_old else members[0].fleet["gate_port"],
        "checks": checks,
        "queue_ms": queue,
        "server_ms": wait,
        "servers": [server_plan.server(each, protocol, wished, gateways) for each in members],
        "reasons": {"checks": why_checks, "queue_ms": why_queue, "server_ms": why_wait},
    }


def _checks(model: str, group: Group) -> tuple[list[str], str]:
    """Return the paths whose answers must say AVAILABLE, the same for all servers of a backend."""
    if group.is_old:
        paths = [f"/v1/models/{model}/versions/{version}" for version in sorted(group.members[0].versions(model))]
        return paths[:MOST_CHECKED], "an old server has no gate, so the state of its versions is all that it says"
    shared = set.intersection(*(set(each.instance["models"]) for each in group.members))
    names = [each for each in (model, *sorted(shared - {model})) if each]
    paths = [f"/v1/models/{each}" for each in names[:MOST_CHECKED]]
    if group.version is not None:
        paths[0] += f"/versions/{group.version}"
    unasked = names[MOST_CHECKED:]
    gate = "the gate answers for every model of the instance"
    return paths, f"{gate}, and for {joined(unasked)} alone" if unasked else f"{gate}, and so does the server itself"


def follow(backends: Sequence[Backend]) -> str:
    """Have each instance checked once where checks would be too many, and return why, or nothing.

    Servers of a version's backend are checked for that version, so they follow nobody; nor do old ones, which answer
    for one model alone.
    """
    total = sum(len(each["servers"]) for each in backends)
    if total <= MOST_CHECKS:
        return ""
    checked: dict[str, str] = {}
    for each in backends:
        for server in each["servers"] if each["arm"] != "version" and each["gate_port"] else ():
            place = f"{each['name']}/{server['name']}"
            first = checked.setdefault(server["name"], place)
            server["track"] = first if first != place else ""
    return f"checks of {total} servers of all backends would be too many, so each instance is checked in one of them"


def check_rollouts(rollouts: Mapping[str, Rollout], models: Mapping[str, Sequence[Serving]]) -> None:
    """Refuse roll-outs of models, hosts and shares that do not exist."""
    for model, rollout in rollouts.items():
        path = f"rollouts.{model}"
        if model not in models:
            raise WishError(path, "is a model that no host serves", f"the models are {joined(list(models))}")
        hosts = {each.host for each in models[model]}
        for arm, named in (("canary", rollout["canary"]), ("control", rollout["control"])):
            for host in named:
                if host not in hosts:
                    raise WishError(f"{path}.{arm}", f"names {host}, which does not serve it", "leave it out")
        both = sorted({*rollout["canary"]} & {*rollout["control"]})
        if both:
            raise WishError(path, f"has {joined(both)} in both arms", "leave each host in one of them")
        if not 0 <= rollout["permille"] <= 1000:
            raise WishError(f"{path}.permille", f"is {rollout['permille']}", "give a number from 0 to 1000")


def check_names(backends: Sequence[Backend]) -> None:
    """Refuse two backends of one name, which models make whose names end like those of arms and versions."""
    first: dict[str, Backend] = {}
    for each in backends:
        other = first.setdefault(each["name"], each)
        if other is not each:
            raise WishError(
                "tfserving_models",
                f"has {other['model']} and {each['model']}, whose calls would both go to the backend {each['name']}",
                "rename one of the models",
            )
