# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The serving hosts that a gateway is planned for, whether a run reaches them or not.

A host that is left out would lose its calls, so a gateway is never planned without one that may serve: the plan of this
run counts first, then what the host itself records, then what the gateway last knew of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..wishes import addresses, inventory, monitoring
from ..wishes.read import Wishes

HOSTS = "groups['tfserving']"
# What a gateway reads of a plan. The rest is none of its business, and some of it nobody else's.
_OF_INSTANCE = ("name", "models", "ports", "threads", "batching", "objective_p99_ms", "model_config")
_OF_MODEL = ("name", "versions", "cache")
_FLAG = "ssl_config_file"
# What a host's variables say of its gate, and what holds where neither they nor the role do.
_GATE = {"gate_port": ("tfserving_gate_port", 8490), "longest_call_s": ("tfserving_longest_call_s", 30)}

Plan = Mapping[str, Any]


def site(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``address``, ``gate_port`` and ``longest_call_s`` of a host, out of its variables."""
    roles = inventory.role_options()
    found = {"address": address(variables)}
    for key, (name, usual) in _GATE.items():
        found[key] = variables[name] if name in variables else roles.get(name, {}).get("default", usual)
    return found


def address(variables: Mapping[str, Any]) -> str:
    """Return where other hosts reach a host."""
    given = (variables.get(name) for name in ("tfserving_address", "ansible_host", "inventory_hostname"))
    return str(next(filter(None, given)))


def readers(watchers: Sequence[str], variables: Mapping[str, Mapping[str, Any]], own: Mapping[str, Any]) -> list[str]:
    """Return who reads a gateway's metrics: the addresses of monitoring hosts, and the networks that ``own`` names."""
    refusals = Refusals()
    found = monitoring.hosts(
        {name: {each: variables[name].get(each) for each in monitoring.ADDRESSES} for name in watchers}, refusals
    )
    refusals.stop()
    named = addresses.networks(own.get(monitoring.ALLOW_FROM) or [], monitoring.ALLOW_FROM)
    return [*(each["address"] for each in found), *named["ipv4"], *named["ipv6"]]


def gathered(
    hosts: Sequence[str],
    plans: Mapping[str, Plan],
    known: Mapping[str, Plan],
    sites: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the hosts that serve, as gateway_plan takes them, and sentences about those that could not be asked.

    :param hosts: the serving hosts of the inventory.
    :param plans: the plans of this run and those read from hosts; empty for a host that serves nothing.
    :param known: what the gateway itself recorded of hosts when it was last applied.
    :param sites: the ``address``, ``gate_port`` and ``longest_call_s`` of each host.
    :raises WishError: nothing is known of a host.
    """
    found, warnings = {}, []
    for name in hosts:
        if name in plans:
            if plans[name].get("instances"):
                found[name] = {**sites[name], **_extract(plans[name])}
        elif name in known:
            warnings.append(f"{name} cannot be reached, so this gateway keeps what it knew of it")
            found[name] = dict(known[name])
        else:
            raise WishError(
                HOSTS,
                f"{name} cannot be reached, and this gateway has no record of it",
                "run again when it can be, or take it out of the inventory",
            )
    return found, warnings


def serving_hosts(fleet: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return for each model the hosts of ``gathered`` that serve it."""
    found: dict[str, list[str]] = {}
    for host, each in fleet.items():
        for model in {model for instance in each["instances"] for model in instance["models"]}:
            found.setdefault(model, []).append(host)
    return found


def wished(wishes: Mapping[str, Wishes]) -> dict[str, dict[str, Any]]:
    """Return as much of what hosts are to serve as servers.check_models takes."""
    return {
        host: {"models": [{"name": each.name, "sha256": _digests(each.source, each.provided)} for each in found]}
        for host, found in ((host, wish.models.values()) for host, wish in wishes.items())
    }


def _digests(source: Plan | None, provided: Sequence[int] | None) -> dict[str, str]:
    """Return the checksums of a model's versions, as far as its source has some."""
    wish = (source or {}).get("sha256") or {}
    found = dict.fromkeys(provided or (), wish) if isinstance(wish, str) else wish
    return {str(version): str(digest).lower() for version, digest in found.items()}


def _extract(plan: Plan) -> dict[str, Any]:
    return {
        "instances": [_instance(each) for each in plan["instances"]],
        "models": [_model(each) for each in plan.get("models", [])],
    }


def _model(given: Plan) -> dict[str, Any]:
    digests = _digests(given.get("source"), given.get("provided"))
    return {**_some(given, _OF_MODEL), **({"sha256": digests} if digests else {})}


def _instance(given: Plan) -> dict[str, Any]:
    return {**_some(given, _OF_INSTANCE), "flags": _some(given.get("flags") or {}, (_FLAG,))}


def _some(given: Plan, keys: Sequence[str]) -> dict[str, Any]:
    return {key: given[key] for key in keys if key in given}
