# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests that never stop: the collection's load generator beside a test, over both protocols, until the test ends."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ["FLEET_CACHE"])
sys.path.insert(0, str(ROOT / "collections"))

# Two serving hosts behind two gateways, in each scenario that has callers.
_SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "")
SERVING = (f"molecule-{_SCENARIO}-a", f"molecule-{_SCENARIO}-b")
GATEWAYS = (f"molecule-{_SCENARIO}-edge-a", f"molecule-{_SCENARIO}-edge-b")
MODEL = "digits"
# One row is 3 kB over gRPC and 7 kB over REST, 32 rows 100 and 230 kB: more than a gateway keeps to send again.
ROWS = 32
# REST and gRPC on a gateway, the defaults of the role.
PORTS = (8080, 9500)
# HAProxy of Debian 12 has one call under way on each connection of gRPC, so callers need several on a busy machine.
CONNECTIONS = {"rest": 1, "grpc": 4}
# Far more than a test takes; it is ended with a signal.
LONGEST_S = 3600
PATIENCE_S = 60
# A server that starts beside other tests.
LONG_PATIENCE_S = 180


def addresses(names: Iterable[str]) -> dict[str, str]:
    """Return the address of each container."""
    inspect = ["docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"]
    return {name: subprocess.check_output([*inspect, name], text=True).strip() for name in names}


def part(name: str):
    return importlib.import_module(f"ansible_collections.tfserving.fleet.plugins.{name}")


def metadata(address: str, port: int) -> dict:
    with urllib.request.urlopen(f"http://{address}:{port}/v1/models/{MODEL}/metadata", timeout=30) as answer:
        return json.load(answer)


def knows_all(gateway) -> bool:
    """Return whether a gateway counts every server of every backend as up."""
    page = gateway.run("curl --silent --fail 'http://127.0.0.1:8404/stats;csv'").stdout.removeprefix("# ")
    rows = [row for row in csv.DictReader(page.splitlines()) if row["svname"] not in ("FRONTEND", "BACKEND")]
    return bool(rows) and all(row["status"].startswith(("UP", "no check")) for row in rows)


def await_that(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; it fails the test with ``what`` was waited for."""
    until = time.monotonic() + LONG_PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"not within {LONG_PATIENCE_S} s: {what}"
        time.sleep(0.3)


@dataclass
class Sent:
    """What came of the requests over one protocol through one gateway."""

    name: str
    answered: int
    lost: dict[str, int]
    problems: list[str]


class Traffic:
    """The requests through some gateways; ``sent`` once they have been stopped."""

    def __init__(self, folder: Path, probe: dict) -> None:
        self.folder = folder
        self.probe = probe
        self.sent: list[Sent] = []
        self.program = folder / "load.zip"
        self.program.write_bytes(part("plugin_utils.benchmark.program").archive())

    @property
    def lost(self) -> dict[str, dict[str, int]]:
        return {each.name: each.lost for each in self.sent if each.lost}

    def lost_but_for(self, reloads: int) -> dict[str, dict[str, int]]:
        """Return what was lost, but for REST's connections that a gateway closed while it reloaded, one each time.

        HAProxy closes idle connections then. A request that is sent in that very moment is sent again by any HTTP
        client (RFC 9112, 9.3.1), but not by the load generator. A server that dies is no closed connection to them:
        the gateway answers with an error.
        """
        found = {}
        for each in self.sent:
            closed = each.lost.get("connection", 0) if each.name.endswith("-rest") else 0
            rest = {**each.lost, "connection": max(closed - reloads, 0)} if closed else each.lost
            found[each.name] = {kind: count for kind, count in rest.items() if count}
        return {name: lost for name, lost in found.items() if lost}

    @property
    def answered(self) -> int:
        return sum(each.answered for each in self.sent)

    def failures(self) -> int:
        """Return how many requests have failed so far."""
        return sum(each["errors"] for each in self._statuses())

    def open(self) -> int:
        """Return how many requests had no answer yet when the load generator last looked, which it does each second."""
        return sum(each["offered"] - each["ok"] - each["errors"] for each in self._statuses())

    def _statuses(self) -> list[dict]:
        return [json.loads(file.read_text()) for file in self.folder.glob("*/status.json")]

    @contextmanager
    def flowing(
        self, gateways: dict[str, str], rate: float = 10.0, protocols: tuple[str, ...] = ("rest", "grpc"), large=0.3
    ):
        """Send ``rate`` requests a second over each protocol through each gateway, a share of them ``large``."""
        rest, grpc = PORTS
        with ExitStack() as running:
            for name, address in gateways.items():
                bodies = self._bodies(metadata(address, rest), large)
                for protocol in protocols:
                    target = {"host": address, "rest": rest, "grpc": grpc, "tls": None, "metrics": None}
                    running.enter_context(self._one(f"{name}-{protocol}", protocol, target, bodies, rate))
            yield self

    def _bodies(self, described: dict, large: float) -> list[dict]:
        requests, signature = part("plugin_utils.benchmark.requests"), part("plugin_utils.benchmark.signature")
        (one,) = [requests.of_probe("probe", self.probe, MODEL, signature.known({MODEL: described}))]
        (more,) = requests.scaled([one], ROWS)
        shares = ((one, 1 - large), ({**more, "expect": None}, large))
        return [{**each, "weight": weight} for each, weight in shares if weight]

    @contextmanager
    def _one(self, name: str, protocol: str, target: dict, bodies: list[dict], rate: float):
        spec, out = self.folder / f"{name}.json", self.folder / name
        spec.write_text(json.dumps({
            "schema": 1, "engine": "own", "protocol": protocol, "target": target, "requests": bodies, "rate": rate,
            "arrivals": "constant", "seed": 1, "warmup_s": 0, "duration_s": LONGEST_S, "processes": 1,
            "connections": CONNECTIONS[protocol], "timeout_s": 20.0, "start_in_s": 0,
        }))  # fmt: skip
        path = f"{self.program}{os.pathsep}{CACHE / 'tensorflow'}"  # grpc comes from the lab's runtime
        command = ["python3", "-m", "tfserving_load", "run", str(spec), str(out)]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True)
        try:
            self._await(process, out)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        result = json.loads((out / "result.json").read_text())
        self.sent.append(Sent(name, result["ok"], result["errors"], result["problems"]))

    def _await(self, process: subprocess.Popen, out: Path) -> None:
        """Wait for the first answers."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            status = out / "status.json"
            if status.exists() and json.loads(status.read_text())["ok"]:
                return
            time.sleep(0.1)
        raise AssertionError(f"no request of {out.name} was answered within {PATIENCE_S} s")
