# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host's kernel said, in words that tests use. Pure: a snapshot in, facts out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

SERVING = "/tfserving.slice"
HOUSEKEEPING = ("/system.slice", "/user.slice", "/init.scope")


def cpus(text: str | None) -> set[int]:
    """The numbers of a list as the kernel writes it ("0-1,6"); none for an empty one."""
    numbers: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


@dataclass(frozen=True)
class Live:
    """One snapshot of collect.py."""

    seen: dict[str, Any] = field(repr=False)

    @property
    def plan(self) -> dict[str, Any]:
        return self.seen["plan"]

    @property
    def serving(self) -> set[int]:
        return cpus(self.plan["serving"]["cpus"])

    @property
    def housekeeping(self) -> set[int]:
        return cpus(self.plan["housekeeping"]["cpus"])

    @property
    def online(self) -> set[int]:
        return cpus(self.seen["online"])

    @property
    def instances(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.plan["instances"]}

    def granted(self, group: str, what: str = "cpus") -> set[int]:
        """The CPUs (or memory nodes) that the kernel lets a cgroup use: its own, or its nearest ancestor's."""
        file = f"cpuset.{what}.effective"
        while file not in self.seen["cgroups"].get(group, {}):
            assert group != "/", f"no cgroup on the way to the root has {file}"
            group = group.rpartition("/")[0] or "/"
        return cpus(self.seen["cgroups"][group][file])

    def unit(self, name: str) -> dict[str, str]:
        return self.seen["instances"][f"tfserving@{name}.service"]

    def processes(self, group: str) -> list[dict[str, Any]]:
        """The processes in a cgroup and below it."""
        return [entry for entry in self.seen["processes"] if f"{entry['cgroup']}/".startswith(f"{group}/")]

    def threads(self, group: str) -> list[dict[str, Any]]:
        return [thread for process in self.processes(group) for thread in process["threads"]]

    def strays(self, group: str, allowed: set[int]) -> list[str]:
        """The threads below a cgroup that may run, or while they were watched did run, somewhere else, in words."""
        return [
            f"{thread['name']} ({thread['tid']}) may use {thread['cpus']}, last ran on {thread['last_cpu']}"
            for thread in self.threads(group)
            if not cpus(thread["cpus"]) <= allowed or (thread["ran"] and thread["last_cpu"] not in allowed)
        ]

    def interrupts(self) -> dict[str, dict[str, Any]]:
        """The interrupts that can be steered; those of the disk's queues, one a CPU, are placed by the kernel alone."""
        return {
            number: entry
            for number, entry in self.seen["interrupts"].items()
            if not re.fullmatch(r"virtio\d+-req\.\d+", entry["owner"])
        }

    def taken_by(self, number: str) -> set[int]:
        """The CPUs that an interrupt went to while the host was watched, but for the one that it was leaving.

        The kernel moves an interrupt when it next occurs (kernel/irq/migration.c): that one still goes where the last
        one went, be it minutes after the order to move.
        """
        before, after = self.seen["interrupts_before"], self.seen["interrupts"][number]
        known = before["counts"].get(number, {})
        times = {int(cpu): count - known.get(cpu, 0) for cpu, count in after["counts"].items()}
        left = cpus(before["goes_to"].get(number)) - cpus(after["goes_to"])
        return {cpu for cpu, count in times.items() if count > (1 if cpu in left else 0)}

    def policies(self, name: str) -> set[str]:
        """The memory policies of an instance's private memory; "default" is none."""
        return {line.split()[1] for line in self._private_memory(name)}

    def pages(self, name: str) -> dict[int, int]:
        """How many of an instance's private pages lie on which node."""
        total: dict[int, int] = {}
        for line in self._private_memory(name):
            for node, count in re.findall(r"\bN(\d+)=(\d+)", line):
                total[int(node)] = total.get(int(node), 0) + int(count)
        return total

    def _private_memory(self, name: str) -> list[str]:
        """Mappings of no file: heap, stacks and weights, which nobody else has placed."""
        lines = self.seen["memory"][f"tfserving@{name}.service"].splitlines()
        return [line for line in lines if " anon=" in line and " file=" not in line]
