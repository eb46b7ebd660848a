# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A planned server against one with default settings, with and without a neighbour that burns the host's CPUs.

Both servers run on one lab host with the lab's ranker: the real TensorFlow runtime, in the reference server. The
planned one has the flags, allocator and CPUs of the plan in force; the other one has a port, a REST port and a model.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, lab_host

INSTANCE = "ranker"
ROUNDS = 5
SECONDS = 4.0  # of one measurement
COUNT = 5_000  # requests on one connection at most, whatever the server's speed
CONNECTIONS = 4
# All four requests together are one batch of 32: a load that both servers should take in full.
ITEMS = 8

# Ports beside those of the instances that the lab host serves.
PORTS = {"default": (18500, 18501), "planned": (18510, 18511)}
START_S = 120
LIFE_S = 1200  # systemd ends whatever this program leaves behind after this time
UNIT = "fleet-bench"

LOAD = (Path(__file__).parent / "support" / "rest_load.py").read_text(encoding="utf-8")

# The generator is the stopwatch: what it waits for a CPU would be counted as the server's.
STOPWATCH = ("nice", "--adjustment=-15")


class Case(NamedTuple):
    """One of the situations that are compared."""

    title: str
    server: str
    neighbour: str  # none, everywhere or confined


CASES = (
    Case("default, quiet host", "default", "none"),
    Case("planned, quiet host", "planned", "none"),
    Case("default, neighbour everywhere", "default", "everywhere"),
    Case("planned, neighbour everywhere", "planned", "everywhere"),
    Case("SIMULATED: planned, neighbour confined", "planned", "confined"),
)
COMPARISONS = (
    ("quiet host: planned / default", CASES[1], CASES[0]),
    ("neighbour everywhere: planned / default", CASES[3], CASES[2]),
    ("SIMULATED: planned with neighbour confined / default with neighbour everywhere", CASES[4], CASES[2]),
)


class Sample(NamedTuple):
    p50_ms: float
    p99_ms: float
    per_second: float
    refused: int


class Cpus(NamedTuple):
    """CPU lists of the host: all, the planned instance's, and all others (one that is not the plan's, if it can be)."""

    all: list[int]
    planned: list[int]
    rest: list[int]


def main() -> int:
    lab_host.ready()
    print(figures.machine())
    plan = lab_host.plan_in_force()
    cpus = read_cpus(plan)
    samples: dict[Case, list[Sample]] = {case: [] for case in CASES}
    with servers(plan, cpus):
        for server in PORTS:
            measure(server, cpus)  # the first requests build what later ones find
        for number in range(ROUNDS):
            for case in CASES if number % 2 else reversed(CASES):
                with neighbour(case.neighbour, cpus):
                    samples[case].append(measure(case.server, cpus))
    print(report(samples, plan, cpus))
    return 0


def read_cpus(plan: dict[str, Any]) -> Cpus:
    _import_collection()
    from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

    found = lab_host.in_host("python3", "-c", "import os; print(*os.sched_getaffinity(0))").stdout
    everything = sorted(map(int, found.split()))
    planned = sorted(cpu_list.parse(_instance(plan)["cpus"]))
    return Cpus(everything, planned, [cpu for cpu in everything if cpu not in planned] or everything[:1])


@contextlib.contextmanager
def servers(plan: dict[str, Any], cpus: Cpus) -> Iterator[None]:
    """Both servers for the whole run; the one that is not measured waits for requests and takes no time."""
    try:
        _start("default", default_command(plan), [])
        environment = [f"--setenv={name}={value}" for name, value in _instance(plan)["environment"].items()]
        affinity = f"--property=CPUAffinity={_words(cpus.planned)}"
        _start("planned", planned_command(plan), [affinity, *environment])
        for _grpc, rest in PORTS.values():
            _load("--wait", f"--port={rest}", f"--model={INSTANCE}", f"--seconds={START_S}")
        yield
    finally:
        _stop("default", "planned", "neighbour")


def default_command(plan: dict[str, Any]) -> list[str]:
    grpc, rest = PORTS["default"]
    base = f"{plan['paths']['models']}/{INSTANCE}"
    return [f"--port={grpc}", f"--rest_api_port={rest}", f"--model_name={INSTANCE}", f"--model_base_path={base}"]


def planned_command(plan: dict[str, Any]) -> list[str]:
    """The planned instance's arguments, made as the role makes them, but for the ports."""
    _import_collection()
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags as server_flags

    grpc, rest = PORTS["planned"]
    flags = {**_instance(plan)["flags"], "port": grpc, "rest_api_port": rest}
    return server_flags.arguments(flags, plan["server"]["version"])


@contextlib.contextmanager
def neighbour(kind: str, cpus: Cpus) -> Iterator[None]:
    """As many endless loops as the host has CPUs, anywhere or on those alone that are not the planned instance's."""
    if kind == "none":
        yield
        return
    where = cpus.all if kind == "everywhere" else cpus.rest
    loops = f"for n in {_words(cpus.all)}; do while :; do :; done & done; wait"
    try:
        _transient("neighbour", [f"--property=CPUAffinity={_words(where)}"], ["/bin/sh", "-c", loops])
        time.sleep(0.5)  # until the scheduler has spread the loops; there is nothing to be awaited
        yield
    finally:
        _stop("neighbour")


def measure(server: str, cpus: Cpus) -> Sample:
    found = json.loads(
        _load(
            f"--port={PORTS[server][1]}",
            f"--model={INSTANCE}",
            f"--items={ITEMS}",
            f"--connections={CONNECTIONS}",
            f"--count={COUNT}",
            f"--seconds={SECONDS}",
            cpus=cpus.rest,
        )
    )
    latencies = found["latencies"]
    if not latencies:
        raise SystemExit(f"the {server} server answered no request ({found['refused']} refused)")
    p50, p99 = (figures.quantile(latencies, share) * 1000 for share in (0.5, 0.99))
    return Sample(p50, p99, len(latencies) / found["wall"], found["refused"])


def report(samples: dict[Case, list[Sample]], plan: dict[str, Any], cpus: Cpus) -> str:
    absolute = [
        (
            case.title,
            *(figures.seconds([each[column] for each in samples[case]]) for column in range(3)),
            sum(each.refused for each in samples[case]),
        )
        for case in CASES
    ]
    ratios = [
        (title, *(_ratio(samples[upper], samples[lower], column) for column in range(3)))
        for title, upper, lower in COMPARISONS
    ]
    heading = (
        f"REST, {CONNECTIONS} connections in a closed loop, {ITEMS} items a request, {ROUNDS} alternated rounds of "
        f"{SECONDS:g} s: median (min-max)"
    )
    return "\n".join(
        [
            figures.table(heading, ("", "p50 ms", "p99 ms", "requests/s", "refused"), absolute),
            figures.table("Ratios of the rounds", ("", "p50", "p99", "requests/s"), ratios),
            "",
            *notes(plan, cpus),
        ]
    )


def notes(plan: dict[str, Any], cpus: Cpus) -> list[str]:
    """What the figures of this host can show; said beside them, because tables are copied without their pages."""
    lines = [
        f"The host has {len(cpus.all)} CPUs; the plan gives {INSTANCE} CPU {_instance(plan)['cpus']}. The default "
        "server runs on all, also on those that the plan gives other instances, which are idle here: that favours it.",
        f"The generator runs on CPU {_words(cpus.rest)} at a high priority. The reference server is Python: read "
        "ratios, not requests/s.",
    ]
    if not plan["housekeeping"]["cpus"]:
        lines.append(
            "Too small to be split: this host's plan keeps no CPU for the system, so nothing holds a neighbour off."
        )
    lines.append(
        f"SIMULATED: the neighbour is bound to CPU {_words(cpus.rest)} by hand, as the cpusets of a split host would "
        "have it; this lab host sets none."
    )
    return lines


def _ratio(upper: list[Sample], lower: list[Sample], column: int) -> str:
    return figures.compared(figures.paired([each[column] for each in upper], [each[column] for each in lower]))


def _instance(plan: dict[str, Any]) -> dict[str, Any]:
    found = [instance for instance in plan["instances"] if instance["name"] == INSTANCE]
    if not found:
        raise SystemExit(
            f"the plan of {lab_host.HOST} has no instance {INSTANCE}; run site.yml with the lab's inventory"
        )
    return found[0]


def _start(name: str, arguments: list[str], properties: list[str]) -> None:
    _stop(name)  # of a run that was cut short
    user = ["--property=DynamicUser=yes", "--property=Group=tfserving"]
    _transient(name, [*user, *properties], ["/usr/bin/tensorflow_model_server", *arguments])


def _transient(name: str, properties: list[str], command: list[str]) -> None:
    """A unit that systemd ends in any case, even when this program is killed."""
    limit = f"--property=RuntimeMaxSec={LIFE_S}"
    lab_host.in_host("systemd-run", "--quiet", "--collect", f"--unit={UNIT}-{name}", limit, *properties, *command)


def _stop(*names: str) -> None:
    # Units that are not there are no error here: stopping comes after every failure, too.
    lab_host.in_host("systemctl", "stop", *(f"{UNIT}-{name}.service" for name in names), check=False)


def _load(*arguments: str, cpus: list[int] | None = None) -> str:
    where = ["taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else []
    return lab_host.in_host(*STOPWATCH, *where, "python3", "-", *arguments, stdin=LOAD).stdout


def _words(cpus: list[int]) -> str:
    return " ".join(map(str, cpus))


def _import_collection() -> None:
    folder = str(lab_host.ROOT / "collections")
    if folder not in sys.path:
        sys.path.insert(0, folder)


if __name__ == "__main__":
    sys.exit(main())
