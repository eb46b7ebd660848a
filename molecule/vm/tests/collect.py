# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs on the host and prints what its kernel says, as JSON. One call for all tests: a login costs seconds there.

Standard library only. Nothing is judged here; that is for the tests.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_FILES = ("cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems.effective", "memory.max", "memory.high")
# How long threads and interrupts are given to happen between two looks.
WATCHED_S = 1.0
# The host's own address on QEMU's network (lab/vm/customise.sh), and how long a connection is given to come about.
ADDRESS = "10.0.2.15"
# Another host as this one sees it: QEMU's gateway, which answers for the machine around it.
GATEWAY = "10.0.2.2"
CONNECT_S = 3.0
KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h


def text(path: Path | str) -> str | None:
    """A file's content, stripped; None where it is not there or its process has ended meanwhile."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def cgroups() -> dict[str, dict[str, str]]:
    """Every cgroup by its path below the root, with those of its files that it has."""
    found = {}
    for folder, _folders, names in os.walk(CGROUPS):
        group = "/" + os.path.relpath(folder, CGROUPS).replace("./", "").strip(".")
        found[group] = {name: text(f"{folder}/{name}") for name in CGROUP_FILES if name in names}
    return found


def processes() -> list[dict]:
    """Every process that is no thread of the kernel, with all its threads."""
    return [entry for folder in PROC.iterdir() if folder.name.isdigit() and (entry := process(folder))]


def process(folder: Path) -> dict | None:
    stat, group = text(folder / "stat"), text(folder / "cgroup")
    if stat is None or group is None or int(fields(stat)[6]) & KERNEL_THREAD:
        return None
    threads = [entry for task in (folder / "task").iterdir() if (entry := thread(task))]
    name, path = text(folder / "comm"), group.rpartition(":")[2]
    return {"pid": int(folder.name), "name": name, "cgroup": path, "threads": threads}


def thread(task: Path) -> dict | None:
    stat, status = text(task / "stat"), text(task / "status")
    if stat is None or status is None:
        return None
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {
        "tid": int(task.name),
        "name": text(task / "comm"),
        "cpus": found["Cpus_allowed_list"],
        "last_cpu": int(fields(stat)[36]),
        "switches": int(found["voluntary_ctxt_switches"]) + int(found["nonvoluntary_ctxt_switches"]),
    }


def mark_those_who_ran(before: list[dict], after: list[dict]) -> list[dict]:
    """Adds `ran` to every thread: a thread that sleeps still shows the CPU it was on before anything was set."""
    counts = {thread["tid"]: thread["switches"] for process in before for thread in process["threads"]}
    for process in after:
        for thread in process["threads"]:
            thread["ran"] = thread["switches"] != counts.get(thread["tid"])
    return after


def fields(stat: str) -> list[str]:
    """The fields of a stat file from the state (proc(5), field 3) on; a name may hold blanks and brackets."""
    return stat.rpartition(") ")[2].split()


def interrupts() -> dict[str, dict]:
    """Every interrupt that has a handler: whose it is, how often it went where, where it may go and where it goes."""
    counts = interrupt_counts()
    targets = interrupt_targets()
    found = {}
    for folder in (PROC / "irq").iterdir():
        owners = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        if owners:
            found[folder.name] = {
                "owner": owners[0],
                "cpus": text(folder / "smp_affinity_list"),
                "goes_to": targets.get(folder.name),
                "counts": counts.get(folder.name, {}),
            }
    return found


def interrupt_targets() -> dict[str, str | None]:
    """The number of an interrupt to the CPUs that it really goes to, of those that it may."""
    return {file.parent.name: text(file) for file in (PROC / "irq").glob("*/effective_affinity_list")}


def interrupt_counts() -> dict[str, dict[str, int]]:
    """/proc/interrupts: the number of an interrupt to the number of a CPU to how often."""
    first, *lines = (text(PROC / "interrupts") or "").splitlines()
    numbers = [name.removeprefix("CPU") for name in first.split()]
    rows = {line.split(":")[0].strip(): line.split(":", 1)[1].split() for line in lines}
    return {name: dict(zip(numbers, map(int, row))) for name, row in rows.items() if name.isdigit()}


def settings(plan: dict) -> dict[str, str | None]:
    """The live value of every sysctl that the plan names, and of a few that tests know by heart."""
    names = {entry["name"] for entry in plan.get("kernel", {}).get("sysctl", [])}
    names |= {"kernel.numa_balancing", "vm.swappiness", "net.core.somaxconn"}
    return {name: text(f"/proc/sys/{name.replace('.', '/')}") for name in sorted(names)}


def files(plan: dict) -> dict[str, list[str | None]]:
    """The content of every file below /sys that the plan names; CPUs without frequency scaling have none."""
    patterns = [entry["path"] for entry in plan.get("kernel", {}).get("sysfs", [])]
    found = {pattern: sorted(Path("/").glob(pattern.lstrip("/"))) for pattern in patterns}
    return {pattern: [text(path) for path in paths] for pattern, paths in found.items()}


def units(pattern: str) -> dict[str, dict[str, str]]:
    """systemd's properties of the units that run."""
    properties = "Id,ActiveState,MainPID,ControlGroup,NRestarts,NeedDaemonReload,UnitFileState"
    shown = subprocess.run(
        ["systemctl", "show", f"--property={properties}", pattern], capture_output=True, text=True, check=True
    ).stdout
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n") if block.strip()]
    return {block["Id"]: block for block in blocks}


def failed_units() -> list[str]:
    shown = subprocess.run(
        ["systemctl", "list-units", "--failed", "--plain", "--no-legend"], capture_output=True, text=True, check=True
    ).stdout
    return [line.split()[0] for line in shown.splitlines() if line.strip()]


def exposure(unit: str) -> str:
    """systemd's own verdict on how tightly a unit is shut, its last line."""
    judged = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", unit], capture_output=True, text=True, check=True
    ).stdout
    return judged.strip().splitlines()[-1]


def doors(plan: dict) -> dict[str, dict[str, bool]]:
    """Whether the host's address lets in connections from loopback and from itself, by instance and by origin."""
    ports = {instance["name"]: instance["ports"]["rest"] for instance in plan.get("instances", [])}
    return {name: {source: lets_in(port, source) for source in ("127.0.0.1", ADDRESS)} for name, port in ports.items()}


def lets_in(port: int, source: str) -> bool:
    try:
        socket.create_connection((ADDRESS, port), CONNECT_S, source_address=(source, 0)).close()
    except OSError:
        return False
    return True


# Joins a cgroup, as what a server starts would be in its own, and says what came of an attempt to reach an address.
REACH = """
import errno, socket, sys
group, kind, address, port = sys.argv[1:]
if group:
    open(group + "/cgroup.procs", "w").write("0")
try:
    if kind == "tcp":
        socket.create_connection((address, int(port)), 3).close()
    else:
        # A packet that is not let out is an error at once; of a connection one would learn by its silence.
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (address, int(port)))
except OSError as error:
    print(errno.errorcode.get(error.errno, error))
else:
    print("ok")
"""


def ways_out(plan: dict, instances: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """What comes of calling the host itself and another one, from within each instance, and from outside of all."""
    ports = {
        f"tfserving@{instance['name']}.service": instance["ports"]["rest"] for instance in plan.get("instances", [])
    }
    groups = {name: f"{CGROUPS}{instances[name]['ControlGroup']}" for name in ports if name in instances}
    port = str(next(iter(ports.values()), 9))
    return {
        name: {"own": reach(group, "tcp", "127.0.0.1", port), "other": reach(group, "udp", GATEWAY, "9")}
        for name, group in {**groups, "outside": ""}.items()
    }


def reach(group: str, *how: str) -> str:
    command = [sys.executable, "-I", "-c", REACH, group, *how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    plan = json.loads(text("/etc/tfserving/plan.json") or "{}")
    instances = units("tfserving@*.service")
    processes_before = processes()
    # Where they go before how often they went, and the other way round afterwards: what is on its way is seen leaving.
    interrupts_before = {"goes_to": interrupt_targets(), "counts": interrupt_counts()}
    print(flush=True)  # sent at once, so that the network card has something to say meanwhile
    time.sleep(WATCHED_S)
    answer = {
        "boot_id": text("/proc/sys/kernel/random/boot_id"),
        "plan": plan,
        "online": text("/sys/devices/system/cpu/online"),
        "governors": [text(path) for path in Path("/sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor")],
        "thp": text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "cgroups": cgroups(),
        "processes": mark_those_who_ran(processes_before, processes()),
        "interrupts": interrupts(),
        "interrupts_before": interrupts_before,
        "settings": settings(plan),
        "files": files(plan),
        "instances": instances,
        "memory": {name: text(f"/proc/{unit['MainPID']}/numa_maps") for name, unit in instances.items()},
        "exposure": {name: exposure(name) for name in instances},
        "accounts": {name: os.stat(f"/proc/{unit['MainPID']}").st_uid for name, unit in instances.items()},
        "failed": failed_units(),
        "doors": doors(plan),
        "ways_out": ways_out(plan, instances),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
