# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's network and containers: made when missing, reused when equal, replaced when anything about them changed."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fleet_lab.build import hashing
from fleet_lab.config import HOSTS, LABEL, NETWORK, PACKAGES_HOST, PACKAGES_NAME, RUNTIME_ON_HOST, Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly

OPTIONS_LABEL = f"{LABEL}.options"
BOOT_TIMEOUT_S = 90  # a boot takes 3 s alone on two cores; the rest is for machines that are busy with other things
BOOTED = ("running", "degraded")  # degraded: a unit failed, which is for the playbooks to notice, not for the lab

# What systemd needs to be the first process of a container, short of --privileged (which many engines refuse).
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE")
SECURITY_OPTIONS = ("seccomp=unconfined", "apparmor=unconfined")
# As on a real server, programs in /tmp may be executed; the engine's default forbids it.
TMPFS = ("/run", "/tmp:exec,mode=1777")
CGROUP_ROOT = Path("/sys/fs/cgroup")


def cgroup_version(root: Path = CGROUP_ROOT) -> int:
    """Return 2 if there is only the unified hierarchy; 1 for the old one, or both side by side."""
    return 2 if (root / "cgroup.controllers").exists() else 1


def cgroup_options(version: int) -> dict[str, list[str] | str]:
    """Return the cgroup options: with v2 a private tree, which lab-init makes writable; with v1 the machine's own."""
    if version == 2:
        return {"cgroupns": "private", "volumes": []}
    return {"cgroupns": "host", "volumes": [f"{CGROUP_ROOT}:{CGROUP_ROOT}:rw"]}


def host_arguments(lab: Lab, version: int) -> list[str]:
    """Return the options of `docker run` for a host with systemd, except for its name and image."""
    cgroup = cgroup_options(version)
    volumes = [*cgroup["volumes"], f"{lab.host_runtime}:{RUNTIME_ON_HOST}:ro"]
    return [
        f"--network={NETWORK}",
        *(f"--cap-add={name}" for name in CAPABILITIES),
        *(f"--security-opt={option}" for option in SECURITY_OPTIONS),
        f"--cgroupns={cgroup['cgroupns']}",
        *(f"--tmpfs={mount}" for mount in TMPFS),
        *(f"--volume={volume}" for volume in volumes),
        "--stop-signal=SIGRTMIN+3",  # what systemd takes for "power off"
    ]


def network(lab: Lab) -> str:
    if answer(["docker", "network", "inspect", NETWORK]):
        return "reused"
    quietly(["docker", "network", "create", f"--label={LABEL}=network", NETWORK], lab.logs / "hosts.log")
    return f"made {NETWORK}"


def package_server(lab: Lab, image: str) -> str:
    """Serve the repository and the models at http://packages.lab/ to everyone on the lab's network."""
    options = [f"--network={NETWORK}", f"--network-alias={PACKAGES_NAME}", f"--volume={lab.web}:/srv:ro"]
    command = ["python3", "-m", "http.server", "80", "--directory", "/srv"]
    made = _ensure(lab, PACKAGES_HOST, options, image, command)
    return f"{'started' if made else 'reused'}, http://{PACKAGES_NAME}/ on the network {NETWORK}"


def hosts(lab: Lab, image: str, content: str) -> str:
    """Boot the lab's hosts; recreate them if `content`, the key of what can be installed on them, has changed."""
    options = [*host_arguments(lab, cgroup_version()), f"--label={LABEL}.content={content}"]
    made = [name for name in HOSTS if _ensure(lab, name, [*options, f"--hostname={name}"], image, [])]
    for name in HOSTS:
        wait_for_boot(name)
    return f"booted {', '.join(made)}" if made else f"reused {', '.join(HOSTS)}"


def wait_for_boot(name: str, timeout: float = BOOT_TIMEOUT_S) -> None:
    """Wait until systemd has finished booting; raise Stop after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (state := system_state(name)) not in BOOTED:
        if time.monotonic() > deadline:
            raise Stop(
                f"{name} is {state or 'not up'} after {timeout:.0f} s; look with: docker logs {name}; "
                f"docker exec {name} systemctl list-jobs"
            )
        time.sleep(0.2)


def system_state(name: str) -> str:
    # systemctl exits with 1 for "degraded" and "starting": what it prints counts.
    return answer(["docker", "exec", name, "sh", "-c", "systemctl is-system-running 2>&1 || true"]) or ""


def _ensure(lab: Lab, name: str, options: list[str], image: str, command: list[str]) -> bool:
    """Ensure that a container runs with these options; return whether it had to be created or started."""
    log = lab.logs / "hosts.log"
    key = hashing.key_of(image, *options, *command)
    found = answer(["docker", "container", "inspect", name])
    if found:
        container = json.loads(found)[0]
        labels = container["Config"]["Labels"] or {}
        if LABEL not in labels:
            raise Stop(f"a container named {name} exists that the lab did not make; rename or remove it")
        if labels.get(OPTIONS_LABEL) == key:
            if container["State"]["Running"]:
                return False
            quietly(["docker", "start", name], log)
            return True
        quietly(["docker", "rm", "--force", "--volumes", name], log)
    labels = [f"--label={LABEL}=host", f"--label={OPTIONS_LABEL}={key}"]
    quietly(["docker", "run", "--detach", f"--name={name}", *labels, *options, image, *command], log)
    return True
