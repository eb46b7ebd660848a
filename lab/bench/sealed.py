# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The unit's sandbox: an instance as the role runs it against the same command line in a unit without any of it.

Both run on one lab host with the lab's ranker on the real TensorFlow runtime, on the same CPUs, with the same
environment. A lab host is a container, where systemd cannot put address rules into the kernel; all else is in force.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from support import figures, lab_host

INSTANCE = "ranker"
ROUNDS = 9
SECONDS = 3.0  # of one measurement
COUNT = 5_000
CONNECTIONS = 4
ITEMS = 8
LEAST_RATIO = 0.97
START_S = 120
LIFE_S = 900
# Beside those of the instances that the lab host serves.
OPEN_GRPC, OPEN_REST = 18520, 18521
OPEN_UNIT = "fleet-bench-open"

LOAD = (Path(__file__).parent / "support" / "rest_load.py").read_text(encoding="utf-8")


def main() -> int:
    lab_host.ready()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    (instance,) = (each for each in lab_host.plan_in_force()["instances"] if each["name"] == INSTANCE)
    ports = {"sealed": instance["ports"]["rest"], "open": OPEN_REST}
    rates: dict[str, list[float]] = {"sealed": [], "open": []}
    start_open(instance)
    try:
        load(OPEN_REST, "--wait", f"--seconds={START_S}")
        for port in ports.values():
            rate(port)  # the first requests build what later ones find
        for number in range(ROUNDS):
            for kind in sorted(ports, reverse=bool(number % 2)):
                rates[kind].append(rate(ports[kind]))
    finally:
        lab_host.in_host("systemctl", "stop", OPEN_UNIT, check=False)
    ratios = figures.paired(rates["sealed"], rates["open"])
    verdict = figures.verdict(figures.median(ratios), at_least=LEAST_RATIO)
    rows = [
        *((kind, figures.seconds(found), "") for kind, found in rates.items()),
        ("sealed / open", figures.compared(ratios), verdict),
    ]
    heading = f"REST, {CONNECTIONS} connections, {ITEMS} items a request, {ROUNDS} alternated rounds of {SECONDS:g} s"
    print(figures.table(heading, ("", "requests/s: median (min-max)", "target"), rows))
    return 0


def start_open(instance: dict) -> None:
    """The same program with the same arguments but for the ports, under systemd without a sandbox."""
    shown = lab_host.in_host("cat", f"/etc/systemd/system/tfserving@{INSTANCE}.service.d/10-plan.conf").stdout
    words = shlex.split(shown.rpartition("ExecStart=")[2])
    replaced = {"--port": OPEN_GRPC, "--rest_api_port": OPEN_REST}
    command = [f"{flag}={replaced[flag]}" if (flag := word.partition("=")[0]) in replaced else word for word in words]
    settings = [f"--setenv={name}={value}" for name, value in instance["environment"].items()]
    settings += ["--property=DynamicUser=yes", "--property=Group=tfserving"]
    settings += [
        f"--property={name}={value}"
        for name, value in instance["unit"].items()
        if name in ("AllowedCPUs", "CPUAffinity", "NUMAPolicy", "NUMAMask")
    ]
    transient = [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={OPEN_UNIT}",
        f"--property=RuntimeMaxSec={LIFE_S}",
        *settings,
    ]
    lab_host.in_host(*transient, *command)


def rate(port: int) -> float:
    """Return how many requests a second were answered."""
    options = (f"--items={ITEMS}", f"--connections={CONNECTIONS}", f"--count={COUNT}", f"--seconds={SECONDS}")
    found = json.loads(load(port, *options))
    if not found["latencies"]:
        raise SystemExit(f"the server at port {port} answered no request ({found['refused']} refused)")
    return len(found["latencies"]) / found["wall"]


def load(port: int, *options: str) -> str:
    arguments = (f"--port={port}", f"--model={INSTANCE}", *options)
    return lab_host.in_host("nice", "--adjustment=-15", "python3", "-", *arguments, stdin=LOAD).stdout


if __name__ == "__main__":
    sys.exit(main())
