# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts that are watched, whether a run reaches them or not.

The plan of this run counts first, then what a host itself records, then what the monitoring host last knew of it. Of a
host of which nothing is known its node exporter is watched all the same: that it cannot be reached is worth an alert.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.cpu_list import parse
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, kind, quoted

from ..gateway.fleet import address
from ..server.batch_size import largest_batch
from ..wishes import checks, inventory
from ..wishes.monitoring import ADDRESSES
from .schema import Exporters, Served, WatchedHost, Watcher

METRICS_PATH = "/monitoring/prometheus/metrics"
# More CPUs than any kernel of today counts (NR_CPUS).
MOST_CPUS = 8192

Plan = Mapping[str, Any]
Variables = Mapping[str, Any]


def gathered(
    hosts: Sequence[str], plans: Mapping[str, Plan], known: Mapping[str, Plan], places: Mapping[str, str]
) -> tuple[dict[str, WatchedHost], list[str]]:
    """Return the serving hosts, and sentences about those that could not be asked.

    :param hosts: the serving hosts of the inventory.
    :param plans: the plans of this run and those read from hosts.
    :param known: what this monitoring host recorded when it was last applied.
    :param places: the address of each host.
    """
    found: dict[str, WatchedHost] = {}
    warnings = []
    for name in hosts:
        if name in plans:
            found[name] = watched(name, places[name], plans[name])
        elif name in known:
            warnings.append(f"{name} cannot be reached, so this monitoring host keeps what it knew of it")
            found[name] = remembered(name, known[name])
        else:
            warnings.append(f"{name} cannot be reached and nothing is known of it, so only its exporter is watched")
            found[name] = {"address": places[name], "cpus": 0, "gpus": 0, "instances": []}
    return found, warnings


def watched(name: str, place: str, plan: Plan) -> WatchedHost:
    """Return what is watched of a host with a plan, or raise WishError for a plan that nobody could have written."""
    path = f"plan of {name}"
    entries = [(f"{path}.instances[{at}]", each) for at, each in enumerate(_list(path, plan.get("instances") or []))]
    return {
        "address": place,
        "cpus": sum(_cpus(plan.get(half)) for half in ("housekeeping", "serving")),
        "gpus": len({str(gpu) for _at, each in entries for gpu in each.get("gpus") or ()}),
        "instances": [_instance(at, each) for at, each in entries],
    }


def remembered(name: str, given: Plan) -> WatchedHost:
    """Return a host of the record, or raise WishError: anybody may have damaged that file."""
    path = f"record of {name}"
    return {
        "address": _address(f"{path}.address", given.get("address")),
        "cpus": checks.whole(0, MOST_CPUS)(f"{path}.cpus", given.get("cpus")),
        "gpus": checks.whole(0, MOST_CPUS)(f"{path}.gpus", given.get("gpus")),
        "instances": [
            _served(f"{path}.instances[{at}]", each) for at, each in enumerate(_list(path, given.get("instances")))
        ],
    }


def _address(path: str, given: Any) -> str:
    try:
        return str(ipaddress.ip_address(str(given)))
    except ValueError:
        raise WishError(
            path, f"is {described(given)}, which is no IP address", "run site.yml on this host again"
        ) from None


def _list(path: str, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, (list, tuple)) or len(given) > checks.MOST_ENTRIES:
        raise WishError(f"{path}.instances", f"is {kind(given)}", "run site.yml on this host again")
    return [checks.mapping(f"{path}.instances[{at}]", each) for at, each in enumerate(given)]


def _cpus(half: Any) -> int:
    text = half.get("cpus") if isinstance(half, Mapping) else ""
    try:
        return len(parse(str(text or "")))
    except ValueError:
        return 0


def _instance(path: str, given: Plan) -> Served:
    batching = checks.mapping(f"{path}.batching", given.get("batching") or {})
    config = checks.mapping(f"{path}.monitoring", given.get("monitoring") or {}).get("prometheus_config") or {}
    return _served(
        path,
        {
            "name": given.get("name"),
            "models": given.get("models"),
            "rest_port": checks.mapping(f"{path}.ports", given.get("ports")).get("rest"),
            "metrics_path": checks.mapping(f"{path}.monitoring", config).get("path") or METRICS_PATH,
            "objective_p99_ms": given.get("objective_p99_ms"),
            "max_batch_size": largest_batch(batching),
            "batch_timeout_us": batching.get("batch_timeout_micros"),
            "batch_threads": batching.get("num_batch_threads"),
        },
    )


def _served(path: str, given: Plan) -> Served:
    count, metrics_path = checks.count(), given.get("metrics_path")
    if not isinstance(metrics_path, str) or not metrics_path.startswith("/") or not metrics_path.isprintable():
        raise WishError(f"{path}.metrics_path", f"is {kind(metrics_path)}", "run site.yml on this host again")
    return {
        "name": checks.instance_name(f"{path}.name", given.get("name")),
        "models": checks.model_names(f"{path}.models", given.get("models")),
        "rest_port": checks.PORT_FIELDS["rest"](f"{path}.rest_port", given.get("rest_port")),
        "metrics_path": metrics_path,
        "objective_p99_ms": checks.milliseconds(f"{path}.objective_p99_ms", given.get("objective_p99_ms")),
        "max_batch_size": _none(count, f"{path}.max_batch_size", given.get("max_batch_size")),
        "batch_timeout_us": _none(checks.whole(0), f"{path}.batch_timeout_us", given.get("batch_timeout_us")),
        "batch_threads": _none(count, f"{path}.batch_threads", given.get("batch_threads")),
    }


def _none(check: checks.Check, path: str, value: Any) -> Any:
    return None if value is None else check(path, value)


def value(variables: Variables, name: str) -> Any:
    """Return a variable of another host, or its role's default."""
    options = inventory.role_options()
    return variables[name] if name in variables else options.get(name, {}).get("default")


def exporters(name: str, variables: Variables) -> Exporters:
    """Return where the exporters of a host answer, or raise WishError."""
    port = checks.PORT_FIELDS["rest"]("monitoring_node_port", value(variables, "monitoring_node_port"))
    dcgm = checks.whole(0, 65535, "a port")("monitoring_dcgm_port", value(variables, "monitoring_dcgm_port"))
    return {
        "address": place(name, variables),
        "node_port": port,
        "tls": bool(value(variables, "monitoring_tls_certificate")),
        "dcgm_port": dcgm,
    }


def watcher(name: str, variables: Variables) -> Watcher:
    """Return where a monitoring host answers, or raise WishError."""
    ports = {
        key: checks.PORT_FIELDS["rest"](f"monitoring_{key}", value(variables, f"monitoring_{key}"))
        for key in ("prometheus_port", "alertmanager_port", "cluster_port")
    }
    is_tls = bool(value(variables, "monitoring_tls_certificate"))
    found: Watcher = {"address": place(name, variables), "tls": is_tls, **ports}  # type: ignore[typeddict-item]
    return found


def place(name: str, variables: Variables) -> str:
    """Return the IP address of a host that is watched, or raise WishError: filters and certificates know no names."""
    given = address(variables)
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        problem = f"is {quoted(given)} for the host {name}, which is no IP address"
        raise WishError(
            ADDRESSES[0], problem, "set it, for that host, to the address at which monitoring hosts reach it"
        ) from None
