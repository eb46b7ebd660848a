# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The instance to be measured, as the plan in force on its host and its present state describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest

from . import tls

# The variables that name an instance and its host, by side.
NAMED: Mapping[str, Mapping[str, str]] = {"A": {}, "B": {"instance": "against", "host": "against_host"}}


def by_side(
    options: Mapping[str, Any],
    sides: Sequence[Mapping[str, str]],
    conditions: Sequence[Mapping[str, Any]],
    **given: Any,
) -> dict[str, dict[str, Any]]:
    """Return ``target`` of each instance of a host that is measured, by its side.

    :param sides: the ``side`` and the ``instance`` of each; ``conditions`` are theirs, in the same order.
    """
    return {
        side["side"]: _of_side(side["side"], {**options, "instance": side["instance"]}, conditions=of_it, **given)
        for side, of_it in zip(sides, conditions)
    }


def _of_side(side: str, options: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    # The model and the signature are those of A; whether B takes its requests is seen when B has described its own.
    asked = options if side == "A" else {**options, "model": None, "signature": None}
    try:
        return target(asked, **given)
    except WishError as error:
        raise WishError(NAMED[side].get(error.path, error.path), error.problem, error.remedy) from error


def target(
    options: Mapping[str, Any],
    plan: Mapping[str, Any],
    status: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, Any],
    address: str,
    host: str,
) -> dict[str, Any]:
    """Return where the instance is called, what may be called there, and its objective.

    :param plan: the plan in force on the host; empty where there is none.
    :param status: what instance_status says of instances of the host.
    :param conditions: what host_samples says of the host, kept with the results.
    :param address: the address by which callers reach the host.
    :raises WishError: the instance is not there, does not serve, or cannot be measured as asked.
    """
    instance = _instance(options["instance"], plan, host)
    problem = next(
        (each.get("problem") for each in status if each["name"] == instance["name"]), "its state is not known"
    )
    if problem:
        raise WishError("instance", f"{instance['name']} on {host} does not serve: {problem}", "run site.yml first")
    if conditions.get("plan_digest", "") is None:
        problem = f"{instance['name']} on {host} runs without the mark of its unit, so its settings are not known"
        raise WishError("instance", problem, "run site.yml first")
    model = _model(options["model"], instance, plan)
    return {
        "name": host,
        "instance": instance["name"],
        "host": address,
        "grpc": instance["ports"]["grpc"],
        "rest": instance["ports"]["rest"],
        "metrics": instance["monitoring"]["prometheus_config"]["path"],
        "models": list(instance["models"]),
        "model": model["name"],
        "probe": model.get("probe") or {},
        "signature": options["signature"],
        **running(instance),
        # REST has no TLS in this server.
        "secured": options["protocol"] == "grpc" and bool(instance["flags"].get("ssl_config_file")),
        "slo_ms": options["slo_ms"] or _objective(instance),
        "plan_digest": instance["digest"],
        "conditions": dict(conditions),
    }


def running(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many calls an instance runs at a time, and whether it forms batches of them."""
    slots = min(instance["threads"]["inter_op"], len(cpu_list.parse(instance["cpus"])))
    return {"slots": slots, "batched": instance["batching"] is not None}


def _instance(name: str, plan: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    if not plan:
        raise WishError(
            "host", f"{host} has no plan in force, so nothing of the fleet serves there", "run site.yml first"
        )
    instances = {each["name"]: each for each in plan["instances"]}
    if name not in instances:
        remedy = nearest(name, instances) or f"it has: {', '.join(instances)}; run site.yml if {name} is new"
        raise WishError("instance", f"{name} is not in the plan in force on {host}", remedy)
    found: Mapping[str, Any] = instances[name]
    return found


def _model(name: str | None, instance: Mapping[str, Any], plan: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = name or instance["models"][0]
    if wanted not in instance["models"]:
        remedy = nearest(wanted, instance["models"]) or f"it has: {', '.join(instance['models'])}"
        raise WishError("model", f"{wanted} is not served by the instance {instance['name']}", remedy)
    return next(each for each in plan["models"] if each["name"] == wanted)


def _objective(instance: Mapping[str, Any]) -> float:
    objective = instance.get("objective_p99_ms") or instance["slo_p99_ms"]
    if not objective:  # a plan of release 0.1.0, which did not record the profile's
        raise WishError("slo", f"the plan of {instance['name']} records no objective", "give one in ms with -e slo=50")
    return float(objective)


def unreachable(seen: Mapping[str, Any], target_host: str, load_host: str, protocol: str) -> WishError | None:
    """Return the refusal of a load host whose calls do not arrive, or None.

    :param seen: what the load generator saw, see ``load/look.py``.
    """
    for name in dict.fromkeys(("rest", protocol)):
        port = seen["ports"][name]
        if not port["open"]:
            return _closed(name, port["why"], seen.get("source"), target_host, load_host)
    return tls.refusal(seen["tls"], target_host, load_host) if seen.get("tls") else None


def _closed(name: str, why: str, source: str | None, target_host: str, load_host: str) -> WishError:
    if why == "unknown host":
        problem = f"load host {load_host} cannot resolve {target_host}"
        return WishError("tfserving_address", problem, "set it, for the measured host, to the address that callers use")
    if why == "refused":
        problem = f"{target_host} refuses connections of load host {load_host} to its {name} port"
        return WishError("tfserving_address", problem, "set it to the address that callers use, or look at status.yml")
    problem = f"{target_host} does not answer load host {load_host} on its {name} port"
    return WishError("tfserving_allow_from", problem, f"add {source or 'the load host'} and run site.yml")
