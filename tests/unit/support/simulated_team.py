# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Load hosts and a server in simulated time: stages as the load generator reports them, of a server that is known."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import mix, options
from benchmark_models import metadata, tensors

BEGAN = 1_800_000_000.0
PROTOCOLS = {"grpc": {"requests_per_s_a_core": 4000.0, "cpu_us_a_request": 250.0}, "rest": {"missing": "not tried"}}
MODEL = metadata(tensors(x=("DT_FLOAT", [-1, 2])), tensors(y=("DT_FLOAT", [-1])))


class SimulatedTeam:
    """The conductor's view of its load hosts, of whose server a call takes ``fixed_s + item_s * items`` on a slot."""

    def __init__(
        self,
        fixed_s: float = 0.001,
        item_s: float = 0.001,
        slots: int = 1,
        names: Sequence[str] = ("load-1",),
        *,
        exponential: bool = False,
        ok: Callable[[int], bool] = lambda number: True,
        seed: int = 1,
    ) -> None:
        self.fixed_s, self.item_s, self.slots, self.names = fixed_s, item_s, slots, list(names)
        self.exponential, self.ok = exponential, ok
        self.specs: list[Mapping[str, Any]] = []
        """The first load host's spec of each stage."""
        self.batched = False
        self.now = BEGAN
        self._number = 0
        self._draw = random.Random(seed)

    def ask(self, subject: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what each load host sees of the server."""
        assert subject == "look"
        ports = {name: {"open": True, "why": None} for name in ("grpc", "rest")}
        described = {model: MODEL for model in question["models"]}
        return [{"ports": ports, "source": "10.0.0.9", "cores": 4, "metadata": described} for _ in self.names]

    def calibrate(self) -> dict[str, Any]:
        """Return a calibration."""
        return {"schema": 1, "protocols": PROTOCOLS}

    def run(
        self, specs: Sequence[Mapping[str, Any]], seconds: float, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Return the result of a stage, all load hosts together."""
        first = specs[0]
        self.specs.append(first)
        rate = sum(spec["rate"] for spec in specs)
        whole_s = math.ceil(first["warmup_s"] + first["duration_s"])
        found = [_Second(t) for t in range(whole_s)]
        self._serve(first, rate, found)
        progress({"t": whole_s, "of": whole_s, "phase": "measure", "offered": 10, "ok": 10, "errors": 0, "p99_us": 900})
        result = _result(first, rate, self.now, found, len(specs))
        self.now += whole_s + 1
        return result

    def _serve(self, spec: Mapping[str, Any], rate: float, found: Sequence[_Second]) -> None:
        free = [0.0] * self.slots
        request = spec["requests"][0]
        copies = request.get("copies", 1)
        mean = self.fixed_s + self.item_s * request["items"] / copies
        now = self._draw.expovariate(rate)
        while now < len(found):
            end = 0.0
            for _copy in range(copies):
                took = self._draw.expovariate(1 / mean) if self.exponential else mean
                done = max(free[0], now) + took
                heapq.heapreplace(free, done)
                end = max(end, done)
            self._number += 1
            found[int(now)].take(round((end - now) * 1e6), self.ok(self._number))
            for second in found[int(now) : min(int(end), len(found))]:
                second.open += 1
            now += self._draw.expovariate(rate)


class Rivals:
    """The conductor's view of load hosts that reach two servers, by the port of gRPC: A on 8500, B on 8600."""

    def __init__(self, a: SimulatedTeam, b: SimulatedTeam, described: Mapping[str, Any] | None = None) -> None:
        self.servers = {8500: a, 8600: b}
        self.names = a.names
        self.specs: list[Mapping[str, Any]] = []
        self.described = described
        """What B's server says of its models, where that is not what A's says."""

    def ask(self, subject: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what each load host sees of a server."""
        found = self.servers[question["target"]["grpc"]].ask(subject, question)
        of_b = self.described if question["target"]["grpc"] == 8600 else None
        return [{**each, "metadata": of_b or each["metadata"]} for each in found]

    def calibrate(self) -> dict[str, Any]:
        """Return a calibration."""
        return {"schema": 1, "protocols": PROTOCOLS}

    def run(
        self, specs: Sequence[Mapping[str, Any]], seconds: float, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Return the result of a stage of one of the servers; their time is one."""
        self.specs.append(specs[0])
        server = self.servers[specs[0]["target"]["grpc"]]
        found = server.run(specs, seconds, progress)
        for each in self.servers.values():
            each.now = server.now
        return found


class _Second:
    def __init__(self, t: int) -> None:
        self.t, self.offered, self.failed, self.open, self.histogram = t, 0, 0, 0, Histogram()

    def take(self, us: int, is_ok: bool) -> None:
        self.offered += 1
        if is_ok:
            self.histogram.record(us)
        else:
            self.failed += 1

    def to_json(self) -> dict[str, Any]:
        ok = self.offered - self.failed
        counts = {"offered": self.offered, "ok": ok, "errors": self.failed, "late": 0, "open": self.open}
        return {"t": self.t, **counts, "histogram": self.histogram.to_json()}


def _result(
    spec: Mapping[str, Any], rate: float, began: float, seconds: Sequence[_Second], hosts: int
) -> dict[str, Any]:
    measured = [second for second in seconds if second.t >= spec["warmup_s"]]
    whole = Histogram()
    for second in measured:
        whole.add(second.histogram)
    offered, failed = sum(each.offered for each in measured), sum(each.failed for each in measured)
    sent, unanswered = sum(each.offered for each in seconds), sum(each.failed for each in seconds)
    return {
        "schema": 1, "engine": spec["engine"], "protocol": spec["protocol"], "began": began,
        "warmup_s": spec["warmup_s"], "duration_s": spec["duration_s"], "rate": rate,
        "offered": offered, "sent": offered, "answered": offered, "ok": offered - failed,
        "errors": {"UNAVAILABLE": failed} if failed else {}, "late": 0,
        "items": (offered - failed) * spec["requests"][0]["items"],
        "cpu": [0.3] * hosts, "rss_mb": [60.0] * hosts, "counters": None,
        "all": {"sent": sent, "ok": sent - unanswered}, "histogram": whole.to_json(),
        "seconds": [second.to_json() for second in seconds], "problems": [],
    }  # fmt: skip


def target(**more: Any) -> dict[str, Any]:
    """Return an instance as benchmark_target describes it."""
    conditions = {
        "plan_digest": "d" * 64, "server_version": "2.19.1", "server_id": "s", "model_versions": {"ranker": [7]},
        "cpu": "AMD EPYC", "cpus": "2-5", "governor": "performance", "mhz": [2000, 2100, 2200], "clocksource": "tsc",
        "kernel": "6.12", "boost": None, "settings": {"flags": {}, "batching": None},
    }  # fmt: skip
    return {
        "name": "gpu-a", "instance": "ranker", "host": "10.0.0.5", "grpc": 8500, "rest": 8501, "metrics": "/metrics",
        "models": ["ranker"], "model": "ranker", "probe": {}, "signature": None, "slots": 1, "batched": False,
        "secured": False, "slo_ms": 50.0, "plan_digest": "d" * 64, "conditions": conditions, **more,
    }  # fmt: skip


def other(**more: Any) -> dict[str, Any]:
    """Return another instance on the same host as benchmark_target describes it."""
    conditions = {**target()["conditions"], "plan_digest": "e" * 64, "cpus": "6-9"}
    mine = {"instance": "ranker-next", "grpc": 8600, "rest": 8601, "plan_digest": "e" * 64, "conditions": conditions}
    return target(**{**mine, **more})


def sample(at: float, **more: Any) -> dict[str, Any]:
    """Return what host_samples says of a quiet host, ``at`` seconds after the first stage began."""
    quiet = {
        "at": BEGAN + at, "pid": 7, "started": 1, "unit": "tfserving@ranker.service", "rss_mb": 100.0, "threads": 9,
        "cpu_throttled_us": 0, "psi_cpu_us": 0, "psi_memory_us": 0, "psi_io_us": 0, "host_psi_cpu_us": 0, "steal": 0.0,
        "busy_us": int(at * 1e5), "own_us": int(at * 1e5), "total_us": int(at * 1e6), "steal_us": 0, "mhz": 2000.0,
        "versions": {"ranker": [7]}, "gpu": None,
    }  # fmt: skip
    return {**quiet, **more}


def asked(**given: Any) -> options.Options:
    """Return what is asked of a benchmark of the ranker."""
    return options.read({"instance": "ranker", **given})


def requests(**given: Any) -> mix.Mix:
    """Return the requests of a benchmark of the ranker."""
    return mix.requests(asked(**given), target(), {"ranker": MODEL})
