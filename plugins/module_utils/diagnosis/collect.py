# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The evidence of one host in one call: a sample, all that is read once, and a second sample after some seconds.

Nothing is installed or changed. What cannot be read is told in ``unread``, and ends nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import cpu_list
from ..errors import WishError
from ..gate import told as gate_told
from ..gateway import runtime
from ..host import plan_key, plan_record
from ..host.sysfs import Tree
from ..nvidia import query
from ..visible_text import told
from . import (
    certificates,
    command,
    counters,
    facts,
    files,
    gpus,
    groups,
    haproxy,
    logs,
    others,
    page,
    server,
    sockets,
    units,
)
from . import tasks as threads
from .unread import Unread

SCHEMA = 1
SECTIONS = ("host", "instances", "server", "files", "logs", "gpus", "gateway")
SECONDS_BOUNDS = (1, 60)
# What is asked beside the samples has this long, and the module ends soon after its second sample.
ANSWERS_S = 8.0
# All servers together have this long for a sample, so that none of it is later than 15 s after the begin of the module.
SAMPLE_S = 2.5
MONITORING_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Wanted:
    """What is to be read: all instances of the plan where none are named, all sections where none are."""

    host: str
    record: str
    seconds: float
    instances: Sequence[str] = ()
    sections: Sequence[str] = SECTIONS
    resolve: Sequence[str] = ()
    certificates: Sequence[str] = ()
    socket: str = runtime.SOCKET

    def has(self, section: str) -> bool:
        """Return whether a section is wanted."""
        return section in self.sections


@dataclass
class Means:
    """What the collection asks, so that a recorded host can stand in for this one."""

    tree: Tree = field(default_factory=Tree)
    ask: command.Ask = command.ask
    nvidia: query.Ask = gpus.ASK
    haproxy: Callable[[str, str, float], str] = runtime.ask
    server: Callable[[Mapping[str, Any]], dict[str, Any]] = server.ask
    page: Callable[[int, str, Sequence[str]], page.Page] = page.read
    gates: Callable[[], dict[str, str]] = gate_told.words
    pause: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time


def check(given: Mapping[str, Any]) -> Wanted:
    """Return the options of the module. Raises WishError."""
    low, high = SECONDS_BOUNDS
    if not low <= given["seconds"] <= high:
        raise WishError("seconds", f"{given['seconds']} is out of bounds", f"write {low} to {high}")
    unknown = [each for each in given["sections"] or () if each not in SECTIONS]
    if unknown:
        raise WishError("sections", f"{unknown[0]} is none", f"choose of {', '.join(SECTIONS)}")
    return Wanted(
        given["host"] or os.uname().nodename,
        given["record"],
        float(given["seconds"]),
        tuple(given["instances"] or ()),
        tuple(given["sections"] or SECTIONS),
        tuple(given["resolve"] or ()),
        tuple(given["certificates"] or ()),
        given["haproxy_socket"],
    )


def collect(wanted: Wanted, means: Means) -> dict[str, Any]:
    """Return the evidence. Raises WishError for an instance that is not in the plan of the host."""
    return _Collection(wanted, means).evidence()


class _Collection:
    def __init__(self, wanted: Wanted, means: Means) -> None:
        self.wanted, self.means, self.tree = wanted, means, means.tree
        self.unread = Unread()
        self.began = time.monotonic()
        self.record = record = self._recorded()
        self.plan = plan_record.separate(plan_key.without_values(record))[0] if record else None
        self.planned = self._chosen()
        self.units: dict[str, dict[str, Any]] = {}
        self.pids: dict[str, int] = {}
        # Of all instances, named or not: none of them is a stranger on CPUs and GPUs.
        self.servers: set[int] = set()
        self._look()

    def _recorded(self) -> dict[str, Any]:
        return self.unread.attempt(self.wanted.record, lambda: plan_record.read(self.wanted.record)) or {}

    def _chosen(self) -> dict[str, dict[str, Any]]:
        every = self._all()
        if not self.wanted.instances:
            return every
        if self._is_gateway():
            # Its part of the diagnosis concerns all instances, and it need not have one itself.
            return {name: every[name] for name in self.wanted.instances if name in every}
        return {name: plan_record.instance(self.plan or {}, name) for name in self.wanted.instances}

    def _is_gateway(self) -> bool:
        return self.tree.exists(self.wanted.socket)

    def _all(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in (self.plan or {}).get("instances", ())}

    def _look(self) -> None:
        """Take the processes that run now: a server may be started again between the samples."""
        found = self.unread.attempt("systemctl show", lambda: units.show(self.means.ask, list(self._all()))) or {}
        self.servers |= {unit["pid"] for unit in found.values() if unit["pid"]}
        chosen = {name: unit for name, unit in found.items() if name in self.planned}
        if chosen:
            self.units = chosen
            self.pids = {name: unit["pid"] for name, unit in chosen.items() if unit["pid"]}

    def evidence(self) -> dict[str, Any]:
        # A first sample that takes long takes nothing of the time of the second: both begin so many seconds apart.
        began = time.monotonic()
        first = self._sample()
        before = self._times()
        once = self.unread.gathered(self._works(), min(ANSWERS_S, self.wanted.seconds + 2))
        self.means.pause(max(0.0, self.wanted.seconds - (time.monotonic() - began)))
        after = self._times()
        self._look()
        second = self._sample()
        self._fit_pages(first, second)
        return {
            "schema": SCHEMA,
            "host": self.wanted.host,
            "kernel": self.tree.text("proc/sys/kernel/osrelease") or "",
            "cgroup": groups.version(self.tree),
            "virtual": once["virtual"],
            "plan": self.plan,
            "samples": [first, second],
            "facts": self._facts(once),
            "instances": {name: self._instance(name, once) for name in self.planned},
            **self._gpus(once),
            "kernel_log": once.get("kernel log") or [],
            "processes": self._others(before, after),
            "gateway": self._gateway(first, second),
            "collector": {
                "seconds": self.wanted.seconds,
                "took_s": round(time.monotonic() - self.began, 2),
                "root": os.geteuid() == 0,
                "sections": list(self.wanted.sections),
                "instances": list(self.wanted.instances),
                "servers": sorted(self.servers),
                "plan_changed": self._recorded() != self.record,
                "status_calls": sum(
                    each["probe"]["status_calls"] for name in self.planned if (each := once.get(f"server {name}"))
                ),
            },
            "unread": self.unread.notes,
        }

    # What is read once, side by side.

    def _works(self) -> dict[str, Callable[[], Any]]:
        ask, wanted = self.means.ask, self.wanted
        works: dict[str, Callable[[], Any]] = {"virtual": self._virtual}
        if wanted.has("host"):
            works["facts"] = lambda: facts.read(self.tree, self._disks(), self._ports())
            works["name resolution"] = lambda: facts.resolve_ms(wanted.resolve)
            works["certificates"] = lambda: certificates.read(self.tree, ask, wanted.certificates)
            works["ss"] = lambda: ask(["ss", "--listening", "--tcp", "--numeric", "--no-header"])
        if wanted.has("logs"):
            works["kernel log"] = lambda: logs.of_kernel(ask)
        if wanted.has("gpus"):
            works["nvidia-smi"] = lambda: gpus.read(self.tree, self.means.nvidia)
        if self.planned:
            works["gates"] = self.means.gates
        for name in self.planned:
            works.update(self._works_of(name))
        return works

    def _works_of(self, name: str) -> dict[str, Callable[[], Any]]:
        planned, unit = self.planned[name], self.units.get(name, {})
        found: dict[str, Callable[[], Any]] = {}
        if self.wanted.has("instances"):
            digest = planned.get("digest", "")
            found[f"process {name}"] = lambda: units.process(self.tree, unit.get("pid", 0), digest)
        if self.wanted.has("server"):
            found[f"server {name}"] = lambda: self.means.server(planned)
        if self.wanted.has("files"):
            found[f"configuration {name}"] = lambda: files.configuration(self.tree, planned)
            found[f"changes {name}"] = lambda: files.changed(self.tree, planned)
            found[f"models {name}"] = lambda: files.models(self.tree, planned)
            if planned.get("environment", {}).get("CUDA_CACHE_PATH"):
                found[f"CUDA cache {name}"] = lambda: self._cuda_cache(name)
        if self.wanted.has("logs") and unit:
            found[f"journal {name}"] = lambda: logs.of_unit(self.means.ask, unit["name"], unit["invocation"])
        return found

    def _virtual(self) -> str | None:
        # It ends with 1 on bare metal.
        try:
            answer = self.means.ask(["systemd-detect-virt"])
        except RuntimeError:
            answer = "none"
        return facts.virtual(self.tree, answer)

    def _disks(self) -> list[str]:
        return list(dict.fromkeys(["/", "/var/lib", *filter(None, [(self.plan or {}).get("paths", {}).get("models")])]))

    def _ports(self) -> set[int]:
        return {port for each in self.planned.values() for port in each["ports"].values()}

    def _facts(self, once: Mapping[str, Any]) -> dict[str, Any]:
        ports = self._ports()
        pids = list(self.pids.values())
        listening = self.unread.attempt(
            "proc/net/tcp", lambda: sockets.listeners(self.tree, once.get("ss"), pids, ports)
        )
        if once.get("facts") is None:
            return {}
        return {
            **once["facts"],
            "resolve_ms": once.get("name resolution"),
            "certificates": once.get("certificates") or [],
            "listeners": listening or [],
        }

    def _instance(self, name: str, once: Mapping[str, Any]) -> dict[str, Any]:
        process = dict(once.get(f"process {name}") or {})
        unit = {**self.units.get(name, {}), "mark_is_planned": process.pop("mark_is_planned", None)}
        answered = once.get(f"server {name}") or {"models": {}, "probe": _NO_PROBE}
        words = (once.get("gates") or {}).get(name)
        group = self.unread.attempt(f"cgroup {name}", lambda: groups.sample(self.tree, self.pids.get(name, 0))) or {}
        kills = ((group.get("memory") or {}).get("events") or {}).get("oom_kill")
        return {
            "unit": unit,
            **process,
            "oom_kills": kills,
            "cuda_cache": once.get(f"CUDA cache {name}"),
            **answered,
            "log": once.get(f"journal {name}") or [],
            "files": once.get(f"configuration {name}") or {},
            "files_changed": once.get(f"changes {name}") or {},
            "model_files": once.get(f"models {name}") or {},
            "gate": None if words is None else {"open": not words, "words": words},
        }

    def _cuda_cache(self, name: str) -> dict[str, Any]:
        path = self.planned[name]["environment"]["CUDA_CACHE_PATH"]
        size = files.size_mb(self.tree, path)
        return {"path": told(path, 200), "exists": self.tree.exists(path), "size_mb": size}

    def _gpus(self, once: Mapping[str, Any]) -> dict[str, Any]:
        why = next((row["why"] for row in self.unread.notes if row["source"] == "nvidia-smi"), None)
        return {"gpus": once.get("nvidia-smi"), "gpu_error": why}

    # The samples.

    def _sample(self) -> dict[str, Any]:
        at = round(self.means.wall(), 3)
        works: dict[str, Callable[[], Any]] = {name: self._running(name) for name in self.planned}
        if self.wanted.has("gpus"):
            works["GPUs"] = lambda: gpus.sample(self.means.nvidia)
        if self.wanted.has("gateway") and self._is_gateway():
            works["HAProxy"] = lambda: haproxy.sample(self.wanted.socket, at, self.means.haproxy)
        counted = self.unread.attempt("counters", lambda: counters.sample(self.tree)) or {}
        answers = self.unread.gathered(works, SAMPLE_S)
        return {
            "at": at,
            **counted,
            "gpus": answers.get("GPUs"),
            "haproxy": answers.get("HAProxy"),
            "instances": {name: answers[name] or dict(_NO_SAMPLE) for name in self.planned},
        }

    def _running(self, name: str) -> Callable[[], dict[str, Any]]:
        def read() -> dict[str, Any]:
            pid, planned = self.pids.get(name, 0), self.planned[name]
            found = self.unread.attempt(f"proc/{pid}", lambda: threads.read(self.tree, pid)) if pid else None
            return {
                "process": found.process if found else None,
                "tasks": found.tasks if found else [],
                "tasks_left_out": found.left_out if found else 0,
                "cgroup": self.unread.attempt(f"cgroup {name}", lambda: groups.sample(self.tree, pid)) if pid else None,
                "sockets": self.unread.attempt("proc/net/tcp", lambda: sockets.of_ports(self.tree, _ports(planned))),
                **(self._page(name, planned) if pid else _NO_PAGE),
            }

        return read

    def _page(self, name: str, planned: Mapping[str, Any]) -> dict[str, Any]:
        settings = (planned.get("monitoring") or {}).get("prometheus_config") or {}
        if not settings.get("enable") or not self.wanted.has("server"):
            return _NO_PAGE
        port, path = planned["ports"]["rest"], settings.get("path") or MONITORING_PATH
        source = f"metrics {name}"
        found = self.unread.attempt(source, lambda: self.means.page(port, path, planned.get("models", ())))
        return {"metrics": found, "metrics_error": found is None}

    def _fit_pages(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        for name in self.planned:
            pages = [found for each in (first, second) if (found := each["instances"][name]["metrics"])]
            left_out = page.fitted(pages, page.MOST_SERIES)
            if left_out:
                shown = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
                self.unread.note(f"metrics {name}", f"it has over {page.MOST_SERIES} series, {shown} are left out")

    def _times(self) -> dict[int, int]:
        return (self.unread.attempt("proc", lambda: others.times(self.tree)) or {}) if self.wanted.has("host") else {}

    def _others(self, before: Mapping[int, int], after: Mapping[int, int]) -> list[dict[str, Any]]:
        texts = [each.get("cpus") or "" for each in self.planned.values()]
        cpus = {cpu for text in texts for cpu in cpu_list.parse(text)}
        own = {*self.servers, os.getpid(), os.getppid()}
        found = self.unread.attempt("processes", lambda: others.busiest(self.tree, before, after, cpus, own))
        return found or []

    def _gateway(self, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
        stats = [sample.pop("haproxy") for sample in (first, second)]
        if not self.wanted.has("gateway") or not self._is_gateway():
            return None
        error = next((row["why"] for row in self.unread.notes if row["source"] == "HAProxy"), None)
        return {"stats": stats if all(stats) else [], "error": error}


_NO_PROBE: dict[str, Any] = {"grpc_health": None, "grpc_ms": None, "rest_ms": None, "status_calls": 0}
_NO_PAGE: dict[str, Any] = {"metrics": None, "metrics_error": False}
_NO_SAMPLE: dict[str, Any] = {
    "process": None, "tasks": [], "tasks_left_out": 0, "cgroup": None, "sockets": None, **_NO_PAGE,
}  # fmt: skip


def _ports(planned: Mapping[str, Any]) -> list[int]:
    return list(planned["ports"].values())
