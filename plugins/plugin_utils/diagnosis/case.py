# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis knows of one host, and what follows from it. Whatever the evidence does not say is None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from . import restarts
from .instance import Instance, cpus_of, matching
from .reading import at, growth, listed, mapping, number, ratio, robust_z, text

Tree = Mapping[str, Any]
# Kinds of time in /proc/stat that are no work of the system.
_UNUSED = frozenset({"idle_us", "iowait_us"})
# What systemd-detect-virt(1) calls containers.
_CONTAINERS = frozenset(
    {"openvz", "lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot", "pouch"}
) | {"container-other"}


class Case:
    """One host's evidence, that of its peers, its own of another day, and what callers saw.

    ``client`` is by instance what callers measured: ``{"mean_ms", "p99_ms", "entrypoint", "statuses"}``; where they did
    not, it is what the probe of the load generator did, which the evidence has. ``gateways`` is the evidence of the
    gateways, which a serving host's budget needs.
    """

    def __init__(
        self,
        evidence: Tree,
        peers: Sequence[Tree] = (),
        yesterday: Tree | None = None,
        client: Tree | None = None,
        gateways: Sequence[Tree] = (),
    ) -> None:
        self.restarted = restarts.restarted(evidence)
        self.evidence = restarts.without_earlier_counts(evidence, self.restarted)
        self.client = {**mapping(evidence.get("client")), **mapping(client)}
        self.gateways = gateways
        self._peers, self._yesterday = peers, yesterday

    # Where and when.

    @property
    def host(self) -> str:
        """Return the host's name in the inventory."""
        return text(self.evidence.get("host"))

    @cached_property
    def peers(self) -> tuple[Case, ...]:
        """Return the other hosts of the fleet, as cases of their own."""
        return tuple(Case(each) for each in self._peers)

    @cached_property
    def yesterday(self) -> Case | None:
        """Return the same host as it was on another day."""
        return None if self._yesterday is None else Case(self._yesterday)

    @cached_property
    def samples(self) -> tuple[Tree, Tree]:
        """Return the first and the last sample, empty where there are not two."""
        found = [mapping(each) for each in listed(self.evidence.get("samples"))]
        return (found[0], found[-1]) if len(found) >= 2 else ({}, {})

    @property
    def window_s(self) -> float | None:
        """Return the time between the samples."""
        first, last = self.samples
        passed = growth(first.get("at"), last.get("at"))
        return passed or None

    @property
    def plan(self) -> Tree | None:
        """Return the plan in force, None where the host has none."""
        found = self.evidence.get("plan")
        return found if isinstance(found, Mapping) else None

    @cached_property
    def _planned(self) -> dict[str, Tree]:
        return {text(each.get("name")): each for each in map(mapping, listed(at(self.plan, "instances")))}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all instances that are planned or were found, whatever the diagnosis is of."""
        return tuple(dict.fromkeys([*self._planned, *mapping(self.evidence.get("instances"))]))

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Return the instances that are planned or were found; of a diagnosis of some, those alone."""
        planned, found = self._planned, mapping(self.evidence.get("instances"))
        asked = listed(at(self.evidence, "collector", "instances"))
        names = [name for name in self.names if name in asked or name in found or not asked]
        return tuple(self._instance(name, planned.get(name, {}), mapping(found.get(name))) for name in names)

    def _instance(self, name: str, plan: Tree, evidence: Tree) -> Instance:
        first, last = (mapping(at(sample, "instances", name)) for sample in self.samples)
        return Instance(name, plan, evidence, (first, last), self.window_s)

    @property
    def running(self) -> tuple[Instance, ...]:
        """Return the instances that run, or of which it is not known."""
        return tuple(each for each in self.instances if each.running is not False)

    def instance(self, name: str) -> Instance | None:
        """Return an instance by its name."""
        return next((each for each in self.instances if each.name == name), None)

    def unread(self, *sources: str) -> str:
        """Return why a source could not be read, empty where nothing was said about it."""
        rows = map(mapping, listed(self.evidence.get("unread")))
        return next((text(row.get("why")) for row in rows if _about(text(row.get("source")), sources)), "")

    # What the host is.

    def fact(self, *path: str) -> Any:
        """Return a fact of the host."""
        return at(self.evidence.get("facts"), *path)

    @property
    def virtual(self) -> str:
        """Return what the host is a guest of, empty for none."""
        return text(self.evidence.get("virtual"))

    @property
    def in_container(self) -> bool:
        """Tell whether the host is a container, which has neither the clock nor the processes of its machine."""
        return self.virtual in _CONTAINERS

    @property
    def listeners(self) -> list[Tree]:
        """Return the listening sockets, none where they could not be read."""
        return [mapping(each) for each in listed(self.fact("listeners"))]

    @cached_property
    def serving_cpus(self) -> frozenset[int]:
        """Return the CPUs that serve: those of the plan, else those of its instances."""
        planned = cpus_of(at(self.plan, "serving", "cpus"))
        return planned or frozenset().union(*(each.cpus for each in self.instances))

    # What happened between the samples.

    def grown(self, *path: str) -> float | None:
        """Return the growth of a counter of the samples."""
        first, last = self.samples
        return growth(at(first, *path), at(last, *path))

    def per_second(self, *path: str) -> float | None:
        """Return the growth of a counter for each second."""
        return ratio(self.grown(*path), self.window_s)

    def latest(self, *path: str) -> float | None:
        """Return a figure of the last sample."""
        return number(at(self.samples[1], *path))

    def pressure(self, resource: str) -> float | None:
        """Return the part of the time in which a task of the host waited for a resource."""
        waited = self.per_second("pressure", resource, "some_us")
        return None if waited is None else min(waited / 1e6, 1.0)

    def cpu_ratio(self, cpus: Iterable[int], *kinds: str) -> float | None:
        """Return the part of the time that these CPUs spent in some kinds: user, system, idle, iowait, irq, steal."""
        spent = [self._cpu_times(str(cpu)) for cpu in cpus]
        wanted = sum(times.get(f"{kind}_us", 0.0) for times in spent for kind in kinds)
        return ratio(wanted, sum(sum(times.values()) for times in spent))

    def idle(self, cpus: Iterable[int]) -> float | None:
        """Return the part of the time in which these CPUs had nothing to do."""
        return self.cpu_ratio(cpus, *(kind.removesuffix("_us") for kind in _UNUSED))

    def _cpu_times(self, cpu: str) -> dict[str, float]:
        kinds = mapping(at(self.samples[1], "stat", cpu))
        return {kind: self.grown("stat", cpu, kind) or 0.0 for kind in kinds}

    def interrupts_per_s(self, cpus: Iterable[int]) -> float | None:
        """Return the interrupts a second on these CPUs, together."""
        rates = [self.per_second("interrupts", str(cpu)) for cpu in cpus]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    def kernel_lines(self, *patterns: str) -> list[str]:
        """Return the lines of the kernel's log that a pattern is found in."""
        return matching(listed(self.evidence.get("kernel_log")), patterns)

    @property
    def processes(self) -> list[Tree]:
        """Return the busiest other processes on the serving CPUs."""
        return [mapping(each) for each in listed(self.evidence.get("processes"))]

    @property
    def gpus(self) -> list[Tree] | None:
        """Return the GPUs, None where they could not be read or there are none."""
        found = self.evidence.get("gpus")
        return [mapping(each) for each in found] if isinstance(found, (list, tuple)) else None

    # Against others.

    def apart(self, figure: Callable[[Case], float | None], floor: float) -> float | None:
        """Return by how many robust deviations a figure of this host lies above that of its peers."""
        return robust_z(figure(self), (figure(peer) for peer in self.peers), floor)


def _about(source: str, wanted: Sequence[str]) -> bool:
    """Tell whether a source is one of those asked for, or a part of one."""
    return any(source == each or source.startswith((each + "/", each + " ", each + ":", each + ".")) for each in wanted)
