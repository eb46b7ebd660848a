# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A process without a network and with a bound on its memory: how this host can have one.

A model is a program of somebody else's, and converting it runs parts of it. Where systemd runs and we are root, it is
asked for a transient service, since a scope cannot have a network of its own: PrivateNetwork needs a process that
systemd itself starts (systemd-run(1)). Elsewhere the program ``unshare`` gives the process a network namespace with
nothing in it, and limits of the process stand for the cgroup's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from .request import Limits

MIB = 1024 * 1024
UNIT = "tfserving-optimizer"
SYSTEMD_RUNS = Path("/run/systemd/system")
CGROUPS = Path("/sys/fs/cgroup")
INTERFACES = Path("/proc/net/dev")
# A second process is a second TensorFlow; threads are bounded by the CPUs.
MOST_TASKS = 1024
# What a candidate's files may take in all; a graph and its variables, twice, with room.
LARGEST_FILE = 64 * 1024 * MIB
# The service's own end comes after ours, which has words for it.
GRACE_S = 30
_PR_SET_PDEATHSIG = 1
NO_MEANS = (
    "this host gives no way to cut a process off the network: run the builder as root, or let users make namespaces "
    "(sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
)


class Means(NamedTuple):
    """How a process is confined: by whom, and the command that does it."""

    by: str
    prefix: list[str]
    unit: str = ""


def means(limits: Limits, writable: Path | None, environment: Mapping[str, str]) -> Means | None:
    """Return how this host confines a process; None if it cannot."""
    if os.geteuid() == 0 and SYSTEMD_RUNS.is_dir() and shutil.which("systemd-run"):
        unit = f"{UNIT}-{os.getpid()}"
        command = [*_service(unit, limits, writable, environment), "--"]
        # It asks by D-Bus, which a minimal host may not have.
        if _works([*command, "true"]):
            return Means("systemd", command, unit)
    if network() == "none":
        # A container without a network: what runs it bounds its memory too.
        return Means("surroundings", [])
    for options in ["--net"], ["--user", "--map-root-user", "--net"]:
        command = ["unshare", *options, "--"]
        if shutil.which("unshare") and _works([*command, "true"]):
            return Means("unshare", command)
    return None


def _works(command: list[str]) -> bool:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def _service(unit: str, limits: Limits, writable: Path | None, environment: Mapping[str, str]) -> list[str]:
    properties = {
        "MemoryMax": f"{limits.memory_mb}M",
        "MemorySwapMax": "0",
        "CPUQuota": f"{limits.cpus * 100}%",
        "TasksMax": str(MOST_TASKS),
        "RuntimeMaxSec": str(limits.seconds + GRACE_S),
        "PrivateNetwork": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "read-only",
        "ProtectKernelTunables": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "OOMPolicy": "kill",
        "LimitCORE": "0",
        # What holds where the kernel does not give the service a memory controller.
        "LimitDATA": f"{limits.memory_mb}M",
        **({"ReadWritePaths": str(writable)} if writable else {}),
    }
    command = ["systemd-run", "--wait", "--pipe", "--collect", "--service-type=exec", f"--unit={unit}"]
    command += [f"--property={name}={value}" for name, value in properties.items()]
    return command + [f"--setenv={name}={value}" for name, value in environment.items()]


def limiter(limits: Limits, by: str) -> Callable[[], None]:
    """Return what a new process calls before it becomes the confined one."""

    def limit() -> None:
        # Whoever started it may be killed; it must not go on alone.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if by != "systemd":
            # Not the address space: TensorFlow reserves more of it than it ever uses.
            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_mb * MIB, limits.memory_mb * MIB))
            seconds = limits.seconds * limits.cpus + GRACE_S
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return limit


def narrow(cpus: int) -> int:
    """Keep the calling process on as many CPUs, so that thread pools are sized by them; return how many it has."""
    allowed = sorted(os.sched_getaffinity(0))[:cpus]
    os.sched_setaffinity(0, allowed)
    return len(allowed)


def in_force() -> dict[str, object]:
    """Return what the calling process itself finds of its confinement."""
    memory = _cgroup_memory_mb()
    data = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if memory is None and data != resource.RLIM_INFINITY:
        return {"network": network(), "memory": "data segment", "memory_mb": data // MIB}
    return {"network": network(), "memory": "cgroup" if memory else "none", "memory_mb": memory}


def network() -> str:
    """Return none where the process sees no interface but the loopback."""
    lines = INTERFACES.read_text(encoding="ascii", errors="replace").splitlines()[2:]
    names = sorted(line.partition(":")[0].strip() for line in lines)
    return "none" if set(names) <= {"lo"} else ", ".join(names)[:200]


def _cgroup_memory_mb() -> int | None:
    """Return the bound of the service's own cgroup, of either version; None without one."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines():
        _number, names, own = [*line.split(":", 2), "", ""][:3]
        folder = {"": CGROUPS, "memory": CGROUPS / "memory"}.get(names)
        if folder is None or UNIT not in own:
            continue
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                return int((folder / own.lstrip("/") / name).read_text(encoding="ascii")) // MIB
    return None


def used_mb(pid: int, unit: str) -> int:
    """Return the memory that a confined process has taken at most, as far as its host tells; 0 if it does not."""
    try:
        if unit:
            return _peak_mb(f"system.slice/{unit}.service")
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _peak_mb(own: str) -> int:
    for path in (CGROUPS / own / "memory.peak", CGROUPS / "memory" / own / "memory.max_usage_in_bytes"):
        with contextlib.suppress(OSError):
            return int(path.read_text(encoding="ascii")) // MIB
    return 0


def stop(process: subprocess.Popen[bytes], unit: str) -> None:
    """End a confined process now."""
    if unit:
        subprocess.run(["systemctl", "kill", "--signal=KILL", f"{unit}.service"], capture_output=True, check=False)
    process.kill()
    process.wait()
