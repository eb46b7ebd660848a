# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The servers of each model, out of the plans of all hosts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, quoted

from ..wishes import checks
from . import limits, records
from .schema import FleetHost, Server

HOSTS = "groups['tfserving']"
# The variable that names the address of a serving host.
ADDRESS = "tfserving_address"
GATE_PORT = "tfserving_gate_port"

# HAProxy's names hold a colon as well, which its runtime commands print between others.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True)
class Serving:
    """An instance on a host."""

    host: str
    fleet: FleetHost
    instance: Mapping[str, Any]
    is_old: bool = False
    """Whether it is an old server beside the instance, which has no gate."""

    @property
    def name(self) -> str:
        """Return the server's name: no instance has a dot in its name, so what stands behind the last one is it."""
        return f"{self.host}.{self.instance['name']}{'.old' if self.is_old else ''}"

    def versions(self, model: str) -> set[int]:
        """Return the versions of a model that this instance should serve."""
        policy = self._served(model)
        if policy["versions"] is not None:
            return set(policy["versions"])
        held = {each["name"]: each["versions"] for each in self.fleet["models"]}
        newest = policy["newest"]
        return set(held.get(model, [])[-newest:])

    def labels(self, model: str) -> set[str]:
        """Return the labels of a model that this instance knows."""
        return set(self._served(model)["labels"])

    def labelled(self, model: str) -> Mapping[str, int]:
        """Return the version of each label of a model."""
        found: Mapping[str, int] = self._served(model)["labels"]
        return found

    def _served(self, model: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.instance["served"].get(model, {"versions": None, "newest": 1, "labels": {}})
        return found


def checked(given: Mapping[str, Any]) -> dict[str, FleetHost]:
    """Return the hosts in order, or raise WishError."""
    for name in given:
        check_name(name)
    return {name: records.host(name, entry) for name, entry in sorted(given.items())}


def check_name(host: Any) -> None:
    """Refuse the name of a host that HAProxy cannot hold."""
    if not isinstance(host, str) or not _NAME.fullmatch(host):
        raise WishError(HOSTS, f"names a host {described(host)}, which HAProxy cannot hold", "rename it")


def read(fleet: Mapping[str, FleetHost]) -> list[Serving]:
    """Return every instance of the fleet in order, or raise WishError."""
    found = []
    for host, entry in fleet.items():
        for instance in sorted(entry["instances"], key=lambda each: str(each["name"])):
            check_address(host, entry["address"])
            found.append(Serving(host, entry, instance))
    if not found:
        raise WishError(HOSTS, "has no host with an instance", "add serving hosts, or run site.yml on them first")
    check_gates(each.fleet["gate_port"] for each in found)
    return found


def check_gates(ports: Iterable[Any]) -> None:
    """Refuse gates at different ports: a backend asks all of its servers at one."""
    gates = sorted({checks.PORT_FIELDS["rest"](GATE_PORT, port) for port in ports})
    if len(gates) > 1:
        shown = " and ".join(map(str, gates))
        raise WishError(GATE_PORT, f"is {shown} on different hosts", "use one port on all hosts")


def check_models(fleet: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse two models of one name, whose callers would get answers of either: a version has one checksum.

    :param fleet: ``models`` of each host, with their ``name`` and the ``sha256`` of their versions.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for host, entry in fleet.items():
        for model in entry["models"]:
            for version, digest in model["sha256"].items():
                other, known = first.setdefault((model["name"], version), (host, digest))
                if known != digest:
                    problem = (
                        f"has version {version} of {model['name']} with one sha256 on {other} and another on {host}"
                    )
                    raise WishError("tfserving_models", problem, "rename one of the models, or correct its source")


def check_address(host: str, address: Any) -> None:
    """Refuse what is no address of the host: its gate refuses callers at the last moment, but never those of loopback.

    A name would be looked up only once, at HAProxy's start.
    """
    remedy = "set it, for that host, to the address that gateways reach it at"
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        problem = f"is {quoted(address)} for the host {host}, which is no IP address"
        raise WishError(ADDRESS, problem, remedy) from None
    if found.is_loopback or found.is_unspecified:
        raise WishError(ADDRESS, f"is {found} for the host {host}, where its gate cannot refuse calls", remedy)


def server(serving: Serving, protocol: str, wished: Mapping[str, int], gateways: int) -> Server:
    """Return an instance as a server of a backend."""
    most, reason = limits.calls(serving.instance, wished, gateways)
    ports = serving.instance["ports"]
    address = ipaddress.ip_address(serving.fleet["address"])
    shown = f"[{address}]" if address.version == 6 else str(address)
    return {
        "name": serving.name,
        "host": serving.host,
        "instance": serving.instance["name"],
        "endpoint": f"{shown}:{ports['rest' if protocol == 'rest' else 'grpc']}",
        "rest_port": ports["rest"],
        "maxconn": most,
        "track": "",
        "reason": reason,
    }
