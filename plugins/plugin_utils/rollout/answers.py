# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which servers are asked golden requests before a new version gets traffic, and with which it is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.golden import proofs

from ..gateway import fleet, servers
from ..gateway.servers import Serving

Plans = Mapping[str, Mapping[str, Any]]

PROBE = "its probe"
# The keys of a probe that make its request; what it expects is in the form of REST, and proven on the host.
_OF_PROBE = ("signature_name", "instances", "inputs")


@dataclass(frozen=True)
class Move:
    """The roll-out of a model."""

    model: str
    old: int
    new: int


def wanted(move: Move, host: str, controls: Sequence[str], plans: Plans, sites: Plans) -> dict[str, Any]:
    """Return the options of the module golden_answers for a host that has loaded the new version.

    The version before is asked of the same instance, else of the first one in ``controls`` that serves it. ``servers``
    is empty where no request is known. ``sites`` are what ``gateway.fleet.site`` says of the hosts. Raises WishError.
    """
    origin, requests = _requests(move, plans[host])
    there = [each for each in controls if each != host and each in plans]
    known, _ = fleet.gathered([host, *there], plans, {}, sites)
    found = [each for each in servers.read(servers.checked(known)) if move.model in each.instance["models"]]
    mine = [each for each in found if each.host == host]
    others = [each for name in there for each in found if each.host == name and move.old in each.versions(move.model)]
    return {
        "model": move.model,
        "new": move.new,
        "old": move.old,
        "origin": origin,
        "requests": requests,
        "servers": [_asked(move, each, others) for each in mine] if requests else [],
    }


def _requests(move: Move, plan: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return the new version's golden requests and where they are from, else its probe's, which expects nothing."""
    listed: Mapping[str, Any] = next((each for each in plan.get("models", ()) if each["name"] == move.model), {})
    entry = proofs.of_version(listed, move.new)
    golden, probe = entry.get("golden") or {}, entry.get("probe") or {}
    if golden.get("requests"):
        return str(golden["file"]), list(golden["requests"])
    request = {key: probe[key] for key in _OF_PROBE if probe.get(key) is not None}
    has_inputs = {"instances", "inputs"} & set(request)
    return PROBE, [{"name": "probe", **request}] if has_inputs else []


def _asked(move: Move, serving: Serving, others: Sequence[Serving]) -> dict[str, Any]:
    before = serving if move.old in serving.versions(move.model) else next(iter(others), None)
    return {**_place(serving), "before": _place(before) if before else None}


def _place(serving: Serving) -> dict[str, Any]:
    ports = serving.instance["ports"]
    return {
        "name": serving.name,
        "address": serving.fleet["address"],
        "rest": ports["rest"],
        "grpc": ports["grpc"],
        "encrypts": serving.instance["encrypts"],
    }
