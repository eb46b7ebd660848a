# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings on where and how a server runs: image, container, unit, process, network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

from ..diagnosis.reading import listed, mapping, number, text
from .case import CONTAINERS, Case
from .finding import Found, found

WILD = ("", "0.0.0.0", "::", "*", "[::]")
_ALIVE = re.compile(r"(https?://)?[^\s'\"]*/v1/models/[^\s'\":]+(?=[\s'\"]|$)")
_PASSES = re.compile(r"(?:^CMD(?:-SHELL)?\s+|(?=(?:\|\||;)))((?:(?:\|\||;)\s*)?(?:/bin/)?(?:true|exit 0|:))\s*$")
_NEVER = ("", "no", "never", "none")
_USUAL = {8500: "gRPC", 8501: "REST"}


def image(case: Case) -> Iterator[Found]:
    """Judge the image of a container."""
    name = text(case.container.get("image"))
    if name and case.container.get("tag_floating"):
        yield found("image.floating", image=name)
    elif name and "@sha256:" not in name:
        yield found("image.undigested", image=name)
    if case.container.get("privileged"):
        yield found("container.privileged")


def process(case: Case) -> Iterator[Found]:
    """Judge the process."""
    if text(case.server.get("user")) in ("root", "0"):
        yield found("process.root")
    if text(case.server.get("allocator")) == "glibc":
        yield found("allocator.glibc")
    group = mapping(case.server.get("cgroup"))
    if case.running and group and group.get("memory_max_mb") is None:
        yield found("memory.unlimited")
    yield from _quota(case)
    yield from _log(case)


def _quota(case: Case) -> Iterator[Found]:
    quota = number(case.container.get("cpus_quota")) or _cpu_max(
        text(mapping(case.server.get("cgroup")).get("cpu_max"))
    )
    allowed = text(case.server.get("cpus_allowed"))
    try:
        cpus = len(cpu_list.parse(allowed)) if allowed else 0
    except ValueError:
        cpus = 0
    if quota and (cpus > quota or not cpus):
        yield found("cpus.quota", quota=f"{quota:g}", cpus=f"{cpus} CPUs" if cpus else "all CPUs of the host")


def _cpu_max(line: str) -> float | None:
    """Return the quota of cgroup v2's cpu.max, in CPUs."""
    parts = line.split()
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not int(parts[1]):
        return None
    return int(parts[0]) / int(parts[1])


def _log(case: Case) -> Iterator[Found]:
    log = mapping(case.server.get("log"))
    if text(log.get("path")) and not log.get("rotated"):
        yield found("log.grows", path=log["path"])


def life(case: Case) -> Iterator[Found]:
    """Judge how it is started, watched and stopped."""
    yield from _restart(case)
    test = " ".join(text(word) for word in listed(case.container.get("healthcheck")))
    passes = _PASSES.search(test)
    if passes:
        yield found("health.passes", end=passes[1])
    asked = _ALIVE.search(test)
    if asked and not any(word in test for word in ("AVAILABLE", "grep", "jq", ":predict")):
        yield found("health.always", url=asked[0])
    supervised = mapping(case.origin.get("supervisor"))
    seconds = case.unit.get("TimeoutStopSec") or supervised.get("stopwaitsecs")
    waits = f"{seconds} s" if str(seconds).isdecimal() else str(seconds)
    yield found("stop.undrained", wait=f", although its launcher waits up to {waits}" if seconds else "")
    if case.launch.by_shell and case.kind in CONTAINERS:
        yield found("stop.shell")


def _restart(case: Case) -> Iterator[Found]:
    if case.kind in CONTAINERS and text(case.container.get("restart")) in _NEVER:
        yield found("restart.none", why="the container has no restart policy")
    elif case.kind == "systemd" and text(case.unit.get("Restart")) in _NEVER:
        yield found("restart.none", why="the unit has no Restart=")
    elif case.kind == "by_hand":
        yield found("restart.none", why="it was started by hand")


def network(case: Case) -> Iterator[Found]:
    """Judge its ports, and who reaches them."""
    exposed = sorted(set(_published(case) if not case.by_host_network else _listening(case)))
    if exposed:
        what = "its port is" if len(exposed) == 1 else "its ports are"
        yield found("network.exposed", what=what, ports=", ".join(map(str, exposed)))
    if case.by_host_network:
        return
    listens = ports(case)
    published = {int(each["port"]): each for each in _mapped(case)}
    for each in _mapped(case):
        yield from _one(each, listens, published)
    for port, kind in listens.items():
        if port not in published:
            yield found("ports.unpublished", kind=kind, port=port)


def _one(each: Mapping[str, Any], listens: Mapping[int, str], published: Mapping[int, Any]) -> Iterator[Found]:
    host_port, port = int(each["host_port"]), int(each["port"])
    if port not in listens:
        yield found("ports.nowhere", host_port=host_port, port=port)
        return
    usual = next((name for name in _USUAL if _USUAL[name] == listens[port]), 0)
    taken = any(int(other["host_port"]) == usual for other in published.values())
    if host_port in _USUAL and host_port != usual and taken:
        yield found("ports.swapped", host_port=host_port, port=port, kind=listens[port])


def ports(case: Case) -> dict[int, str]:
    """Return the ports that the server listens on, by its flags, and what each is."""
    found_ports = {int(case.line["port"]): "gRPC", int(case.line["rest_api_port"]): "REST"}
    return {port: kind for port, kind in found_ports.items() if port > 0}


def host_ports(case: Case) -> dict[str, int]:
    """Return the ports of the host by which callers reach it, ``grpc`` and ``rest``."""
    kinds = {"gRPC": "grpc", "REST": "rest"}
    if case.by_host_network:
        return {kinds[kind]: port for port, kind in ports(case).items()}
    listens = ports(case)
    return {
        kinds[listens[int(each["port"])]]: int(each["host_port"])
        for each in reversed(_mapped(case))
        if int(each["port"]) in listens
    }


def _mapped(case: Case) -> list[Mapping[str, Any]]:
    return [
        each
        for each in listed(case.container.get("ports"))
        if isinstance(each, Mapping) and number(each.get("port")) and number(each.get("host_port"))
    ]


def _published(case: Case) -> list[int]:
    return [int(each["host_port"]) for each in _mapped(case) if text(each.get("host_ip")) in WILD]


def _listening(case: Case) -> list[int]:
    """Return the ports that are open on every address; a server whose sockets were not seen binds them all."""
    seen = [each for each in listed(case.server.get("listening")) if isinstance(each, Mapping)]
    if not seen:
        return list(ports(case))
    return [int(each["port"]) for each in seen if text(each.get("address")) in WILD and number(each.get("port"))]
