# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Old servers that were adopted, as servers of the same models beside the new instances until they are taken over.

The new instances are the canary's arm, whose share grows, and the old servers answer all other calls. An old server has
no gate, so the state of its versions alone tells whether it is well. At 100 % the gateway knows no old server any more:
a server that is still checked is not idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import boolean

from ..phrases import joined
from ..wishes import checks
from ..wishes.read import Wishes
from .schema import FleetHost, Rollout
from .servers import Serving

ADOPTED = "gateway_adopted"
SHARE = "gateway_adopted_share"
WHOLE = 100

_REPLACES = "which replaces the old server"
_VERSIONS = "have the inventory name the versions that the old server serves"
_AGAIN = "adopt the hosts again, or leave it out"


def checked(path: str, value: Any) -> list[dict[str, Any]]:
    """Return the wish as a list of old servers, or raise WishError."""
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {kind(value)}", "give the list that adopt.yml wrote")
    if len(value) > checks.MOST_ENTRIES:
        raise WishError(path, f"holds {len(value)} entries", f"use at most {checks.MOST_ENTRIES}")
    return [_entry(f"{path}[{place}]", each) for place, each in enumerate(value)]


def _entry(path: str, value: Any) -> dict[str, Any]:
    known: dict[str, checks.Check] = {
        "host": _host,
        "instance": checks.instance_name,
        "ports": checks.ports,
        "models": _models,
        "tls": boolean,
    }
    found = {"tls": False, **checks.fields(path, value, "an old server", known)}
    missing = next((name for name in known if name not in found), "")
    if missing:
        raise WishError(f"{path}.{missing}", "is missing", _AGAIN)
    for protocol in ("rest", "grpc"):
        if protocol not in found["ports"]:
            # REST tells how it is; a call of either kind has to find it.
            raise WishError(f"{path}.ports.{protocol}", "is missing, and gateways need both ports", "leave it out")
    return found


def _host(path: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise WishError(path, f"is {described(value)}", "give the host's name in the inventory")
    return str(value)


def _models(path: str, value: Any) -> dict[str, list[int]]:
    found = {
        checks.model_name(f"{path} (a name)", name): checks.versions(f"{path}.{name}", each)
        for name, each in checks.mapping(path, value).items()
    }
    if not found:
        raise WishError(path, "is empty, so no call could go to it", _AGAIN)
    return found


def check_wished(settings: Mapping[str, Any], wished: Mapping[str, Wishes]) -> None:
    """Refuse, before any host is touched, what ``by_model`` would refuse of these wishes, as far as they tell.

    :param wished: the wishes of all serving hosts.
    """
    for place, entry in enumerate(settings[ADOPTED] if settings[SHARE] < WHOLE else ()):
        path, wishes = f"{ADOPTED}[{place}]", wished.get(entry["host"])
        instances = {each.name: each for each in wishes.instances} if wishes else {}
        if not wishes or entry["instance"] not in instances:
            problem = f"stands beside {entry['instance']} on {entry['host']}, which the inventory does not have"
            raise WishError(path, problem, "run with the inventory and the beside of the adoption")
        _check_own_ports(path, entry, {port: name for name, each in instances.items() for port in each.ports.values()})
        for model, versions in entry["models"].items():
            at = f"{path}.models.{model}"
            if model not in instances[entry["instance"]].models:
                raise WishError(at, f"is no model of {entry['host']}.{entry['instance']}, {_REPLACES}", _AGAIN)
            lost = set(versions) - set(wishes.models[model].versions)
            if lost:
                raise WishError(at, f"is {_numbers(versions)}, and the inventory lacks {_numbers(lost)}", _VERSIONS)


def by_model(
    settings: Mapping[str, Any],
    fleet: Mapping[str, FleetHost],
    found: Sequence[Serving],
    rollouts: Mapping[str, Rollout],
    mode: str,
) -> dict[str, list[Serving]]:
    """Return the old servers of each model, none once the new instances get all calls; or raise WishError."""
    entries = settings[ADOPTED]
    if not entries or settings[SHARE] == WHOLE:
        return {}
    if mode == "tcp":
        problem = "is set, and with gateway_grpc_mode tcp connections are passed on whole, so no share can be kept"
        raise WishError(ADOPTED, problem, "use another mode until the old servers are taken over")
    known = {(each.host, each.instance["name"]): each for each in found}
    result: dict[str, list[Serving]] = {}
    taken: dict[tuple[str, int], str] = {}
    for place, entry in enumerate(entries):
        path = f"{ADOPTED}[{place}]"
        new = known.get((entry["host"], entry["instance"]))
        if new is None:
            problem = f"stands beside {entry['instance']} on {entry['host']}, which does not serve"
            raise WishError(path, problem, "run site.yml on the serving hosts first, or leave it out")
        _check_ports(path, entry, fleet[entry["host"]], taken)
        _check_tls(path, entry, new)
        for model, versions in entry["models"].items():
            _check_model(f"{path}.models.{model}", model, versions, new, rollouts)
            result.setdefault(model, []).append(_old(entry, new))
    for model, olds in result.items():
        _check_alike(model, [each for each in found if model in each.instance["models"]], olds)
    return dict(sorted(result.items()))


def _old(entry: Mapping[str, Any], new: Serving) -> Serving:
    """Return an old server: it gets as many calls at a time as the instance that replaces it."""
    instance = {**new.instance, "ports": entry["ports"], "models": list(entry["models"])}
    return replace(new, instance=instance, is_old=True)


def _check_ports(path: str, entry: Mapping[str, Any], host: FleetHost, taken: dict[tuple[str, int], str]) -> None:
    """Refuse ports that belong to somebody else: calls for the old server would be answered by that."""
    own = {port: each["name"] for each in host["instances"] for port in each["ports"].values()}
    _check_own_ports(path, entry, own)
    for port in sorted(entry["ports"].values()):
        if port == host["gate_port"]:
            raise WishError(f"{path}.ports", f"names {port}, which is the port of the gate", _AGAIN)
        other = taken.setdefault((entry["host"], port), path)
        if other != path or len(set(entry["ports"].values())) < len(entry["ports"]):
            problem = f"names {port} on {entry['host']}, as {other}.ports does"
            raise WishError(f"{path}.ports", problem, "give each server its own ports")


def _check_own_ports(path: str, entry: Mapping[str, Any], own: Mapping[int, str]) -> None:
    for port in sorted(entry["ports"].values()):
        if port in own:
            problem = f"names {port}, which is a port of the instance {own[port]} on {entry['host']}"
            raise WishError(f"{path}.ports", problem, "run with the beside of the adoption")


def _check_tls(path: str, entry: Mapping[str, Any], new: Serving) -> None:
    if bool(entry["tls"]) != bool(new.instance["encrypts"]):
        one, other = ("only TLS", "none") if entry["tls"] else ("no TLS", "nothing else")
        problem = f"takes {one} on gRPC, and {new.name}, which replaces it, takes {other}"
        raise WishError(f"{path}.tls", problem, "set tfserving_tls_certificate as it is for the old server")


def _check_model(path: str, model: str, versions: Sequence[int], new: Serving, rollouts: Collection[str]) -> None:
    """Refuse a model of which the new instance answers something else than the old server."""
    if model not in new.instance["models"]:
        raise WishError(path, f"is no model of {new.name}, {_REPLACES}", _AGAIN)
    if model in rollouts:
        raise WishError(path, "is a model whose roll-out is under way", "finish it, or take it back with rollback.yml")
    wanted = new.versions(model)
    if wanted != set(versions):
        problem = f"is {_numbers(versions)}, and {new.name} serves {_numbers(wanted)}"
        raise WishError(path, problem, _VERSIONS)
    labels = sorted(new.labels(model))
    if labels:
        problem = f"is served with the label {labels[0]}, which an old server cannot be asked for"
        raise WishError(path, problem, "move its callers by hand, and leave the model out")


def _check_alike(model: str, news: Sequence[Serving], olds: Sequence[Serving]) -> None:
    """Refuse instances with different versions: a call that names one could not be drawn for either arm."""
    first = news[0].versions(model)
    for each in [*news, *olds]:
        if each.versions(model) != first:
            problem = f"has {model}, of which {each.name} serves other versions than {news[0].name}"
            raise WishError(ADOPTED, problem, "take the hosts over one after another: leave the others out")


def _numbers(versions: Iterable[int]) -> str:
    return joined([str(each) for each in sorted(versions)]) or "no version"


def least(count: int) -> int:
    """Return how many old servers must be up to get calls: while they come back after an undo, or have been stopped one
    after another, the first and the last would get those of all."""
    return (count + 1) // 2


def moving(settings: Mapping[str, Any], olds: Mapping[str, Sequence[Serving]]) -> dict[str, Rollout]:
    """Return the share of each model's new instances in the form of a roll-out."""
    permille = settings[SHARE] * 10
    return {model: {"canary": [], "control": [], "permille": permille} for model in olds}
