# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Containers of Docker and Podman that run a server, or would. Neither is asked for more than it shows by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..diagnosis.command import Ask
from ..disk import plain_files
from ..visible_text import told
from . import processes, secrets
from .systemd import LAUNCHES

RUNTIMES = ("docker", "podman")
MOST_STOPPED = 50
_ID = "([0-9a-f]{64})"
_GROUPS = {
    "podman": re.compile(rf"/libpod-{_ID}(?:\.scope)?(?:/|\Z)"),
    "docker": re.compile(rf"/(?:docker/|docker-){_ID}(?:\.scope)?(?:/|\Z)"),
    # containerd and CRI-O under Kubernetes, LXC and the like.
    "another runtime": re.compile(rf"/(?:[a-z-]{{1,40}}-)?{_ID}(?:\.scope)?(?:/|\Z)"),
}
_EXACT = re.compile(r"\d+\.\d+\.\d+")
_COMPOSE = ("com.docker.compose.", "io.podman.compose.")
_NANO, _MIB = 1e9, 1 << 20
LONGEST = 1000


def container_of(group: str) -> tuple[str, str] | None:
    """Return the runtime and the id of the container that a group belongs to, the innermost; None for no container."""
    found = [(match.end(), kind, match[1]) for kind, form in _GROUPS.items() for match in form.finditer(group)]
    if not found:
        return None
    # Of one place the more telling form: the last in order is the least.
    last = max(end for end, _kind, _id in found)
    _end, kind, identity = next(each for each in found if each[0] == last)
    return kind, identity


def inspect(ask: Ask, runtime: str, identity: str) -> dict[str, Any]:
    """Return what a runtime knows of a container. Raises RuntimeError and ValueError, TimeoutExpired if it hangs."""
    rows = _parsed(ask([runtime, "inspect", "--type", "container", identity]), runtime)
    if len(rows) != 1:
        raise RuntimeError(f"{runtime} does not know the container {identity[:12]}")
    return rows[0]


def _parsed(answer: str | None, runtime: str) -> list[dict[str, Any]]:
    if answer is None:
        raise RuntimeError(f"{runtime} is not installed")
    rows = plain_files.parsed(answer.encode())
    if not plain_files.fits(rows, [{"Id": str, "Name": str, "Config": dict, "HostConfig": dict}]):
        raise ValueError(f"{runtime} answers with something else than containers")
    return list(rows)


def kind_of(runtime: str, shown: Mapping[str, Any]) -> str:
    """Return the kind of the origin: compose if it has made the container."""
    return "compose" if compose_of(shown) else runtime


def name_of(shown: Mapping[str, Any]) -> str:
    """Return the name of the origin."""
    compose, found = compose_of(shown), labels(shown)
    if compose:
        number = next((found[name] for prefix in _COMPOSE if (name := f"{prefix}container-number") in found), "1")
        return "/".join([compose["project"], compose["service"], *([told(number, 10)] if number != "1" else [])])
    return told(shown["Name"].lstrip("/"), 200)


def labels(shown: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a container."""
    return {str(name): str(value) for name, value in (shown["Config"].get("Labels") or {}).items()}


def compose_of(shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what compose has written down about a container that it made."""
    found = labels(shown)

    def label(name: str) -> str:
        return next((found[f"{prefix}{name}"] for prefix in _COMPOSE if f"{prefix}{name}" in found), "")

    if not label("project") or not label("service"):
        return None
    files = [told(each, LONGEST) for each in label("project.config_files").split(",") if each]
    return {"project": told(label("project"), 200), "service": told(label("service"), 200), "files": files}


def described(ask: Ask, runtime: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to know of a container, without secrets."""
    config, host = shown["Config"], shown["HostConfig"]
    image = str(config.get("Image") or shown.get("ImageName") or "")
    return {
        "id": told(str(shown["Id"]), 64),
        "name": told(shown["Name"].lstrip("/"), 200),
        "image": secrets.text(image, LONGEST),
        "digest": _digest(ask, runtime, shown, image),
        "tag_floating": tag_floating(image),
        "privileged": bool(host.get("Privileged")),
        "restart": told(str((host.get("RestartPolicy") or {}).get("Name") or "no"), 40),
        "ports": _ports(shown),
        "mounts": [_mount(each) for each in _rows(shown.get("Mounts"))],
        "entrypoint": secrets.words(_words(config.get("Entrypoint"))),
        "command": secrets.words(_words(config.get("Cmd"))),
        "healthcheck": _healthcheck(config),
        "cpus_quota": _quota(host),
        "memory_mb": _number(host.get("Memory")) // _MIB or None,
        "gpus": _gpus(host),
        "network": told(str(host.get("NetworkMode") or ""), 200),
        "auto_remove": bool(host.get("AutoRemove")),
        "compose": compose_of(shown),
    }


def retries(shown: Mapping[str, Any]) -> int:
    """Return how often a runtime starts a container that fails; 0 for always."""
    return _number((shown["HostConfig"].get("RestartPolicy") or {}).get("MaximumRetryCount"))


def tag_floating(image: str) -> bool:
    """Return whether an image's name may mean another image tomorrow: only a digest, or a whole version, does not."""
    if "@sha256:" in image or re.fullmatch(r"(?:sha256:)?[0-9a-f]{12,64}", image):
        return False
    return not _EXACT.search(image.rpartition("/")[2].partition(":")[2])


def _digest(ask: Ask, runtime: str, shown: Mapping[str, Any], image: str) -> str | None:
    if "@sha256:" in image:
        return told(image.partition("@")[2], 80)
    told_by_podman = str(shown.get("ImageDigest") or "")
    if told_by_podman.startswith("sha256:"):
        return told(told_by_podman, 80)
    try:
        answer = ask([runtime, "image", "inspect", str(shown.get("Image") or "")])
        rows = plain_files.parsed((answer or "[]").encode())
        digests = [str(each) for row in rows for each in row.get("RepoDigests") or ()]
    except (RuntimeError, ValueError, AttributeError, TypeError):
        # The image may be gone while its container still runs.
        return None
    return next((told(each.partition("@")[2], 80) for each in digests if "@sha256:" in each), None)


def _ports(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the published ports: what is, or what is wished where the container does not run."""
    network = (shown.get("NetworkSettings") or {}).get("Ports") or {}
    wished = shown["HostConfig"].get("PortBindings") or {}
    chosen = network if any(network.values()) else wished
    found = []
    for name, places in sorted(chosen.items()):
        port = _number(name.partition("/")[0])
        for place in _rows(places):
            host = {
                "host_ip": told(str(place.get("HostIp") or "0.0.0.0"), 60),
                "host_port": _number(place.get("HostPort")),
            }
            found.append({**host, "port": port})
    return found


def _mount(row: Mapping[str, Any]) -> dict[str, Any]:
    source, target = str(row.get("Source") or ""), str(row.get("Destination") or "")
    return {"source": told(source, LONGEST), "target": told(target, LONGEST), "read_only": not row.get("RW", True)}


def _words(value: Any) -> list[str]:
    """Return a command: Docker has a list of words or nothing, Podman before 5 its entry point as one text."""
    if isinstance(value, str):
        return value.split(" ") if value else []
    return [str(each) for each in value or ()]


def _healthcheck(config: Mapping[str, Any]) -> list[str] | None:
    test = _words((config.get("Healthcheck") or {}).get("Test"))
    return None if not test or test == ["NONE"] else secrets.words(test)


def _quota(host: Mapping[str, Any]) -> float | None:
    if _number(host.get("NanoCpus")):
        return _number(host["NanoCpus"]) / _NANO
    quota, period = _number(host.get("CpuQuota")), _number(host.get("CpuPeriod")) or 100_000
    return quota / period if quota > 0 else None


def _gpus(host: Mapping[str, Any]) -> list[str] | None:
    """Return the GPUs that a container was given: ``all``, a number of them, or their names."""
    found: list[str] = []
    for request in _rows(host.get("DeviceRequests")):
        kinds = {str(each) for some in request.get("Capabilities") or () for each in some or ()}
        if str(request.get("Driver") or "nvidia") in ("nvidia", "cdi") or "gpu" in kinds:
            named = [told(str(each), 100) for each in request.get("DeviceIDs") or ()]
            count = request.get("Count")
            found += named or ["all" if count in (-1, None) else str(_number(count))]
    for device in _rows(host.get("Devices")):
        path = str(device.get("PathOnHost") or "")
        found += [told(path, 100)] if path.startswith(("nvidia.com/gpu", "/dev/nvidia")) else []
    return found or (["all"] if host.get("Runtime") == "nvidia" else None)


def _rows(value: Any) -> Iterable[Mapping[str, Any]]:
    return [each for each in value or () if isinstance(each, Mapping)]


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def definition(shown: Mapping[str, Any]) -> str:
    """Return all that a container is defined by, as a text that is only ever compared."""
    config = shown["Config"]
    return "\n".join(
        [str(shown["Id"]), str(shown.get("Image")), repr(config.get("Entrypoint")), repr(config.get("Cmd"))]
    )


def launchers(ask: Ask, runtime: str) -> list[dict[str, Any]]:
    """Return the containers that do not run, and would start a server; none without the runtime."""
    stopped = ("--filter", "status=exited", "--filter", "status=created")
    listed = ask([runtime, "ps", "--all", "--no-trunc", *stopped, "--format", "{{.ID}}"])
    names = [line for line in (listed or "").split() if re.fullmatch("[0-9a-f]{12,64}", line)][:MOST_STOPPED]
    if not names:
        return []
    rows = _parsed(ask([runtime, "inspect", "--type", "container", *names]), runtime)
    return [_launcher(ask, runtime, shown) for shown in rows if _would_serve(shown)]


def _would_serve(shown: Mapping[str, Any]) -> bool:
    config = shown["Config"]
    said: Sequence[str] = [str(config.get("Image")), *_words(config.get("Entrypoint")), *_words(config.get("Cmd"))]
    return any(map(LAUNCHES.search, said))


def _launcher(ask: Ask, runtime: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    found = described(ask, runtime, shown)
    return {
        "kind": kind_of(runtime, shown),
        "name": name_of(shown),
        "unit": None,
        "container": found,
        "supervisor": None,
        "argv": processes.server_words([*found["entrypoint"], *found["command"]]),
        "text": None,
    }
