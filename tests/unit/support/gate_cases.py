# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts with gates: their files in a folder, pages of a companion, and a host whose time passes only by waiting."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils.gate import pollers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.answers import Poll
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Config, Instance
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.door import Door
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.gates import Gates
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import Marks
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.record import Record
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.sockets import Socket

RANKER = Instance("ranker", 8501, 8500, {"m": frozenset({7})})


def config(*instances, gateways=("edge-1",), drain_timeout_s=60.0, longest_call_s=2.0) -> Config:
    return Config(
        8490, drain_timeout_s, longest_call_s, tuple(gateways), {one.name: one for one in instances or [RANKER]}
    )


def record(**more) -> Record:
    """Return what alice closed in November."""
    return Record(
        **{"state": "draining", "reason": "driver 570", "by": "alice", "kind": "person", "since": 1795773600, **more}
    )


class Folder:
    """The files of a host below a folder."""

    def __init__(self, root: Path) -> None:
        self.path = str(root / "gate.json")
        self.records = str(root / "records")
        self.marks = Marks(str(root / "marks"), str(root / "units"))
        self.memory = root / "memory"
        (root / "units").mkdir()
        self.memory.mkdir()

    def write(self, port=8490, rest=8501, grpc=8500, gateways=("edge-1",), names=("ranker",), models=None, **more):
        """Lay down gate.json."""
        listed = [
            {"name": name, "model_version_policy": policy} for name, policy in (models or {"m": specific(7)}).items()
        ]
        instances = {name: {"ports": {"rest": rest, "grpc": grpc}, "models": listed} for name in names}
        times = {"drain_timeout_s": 60, "longest_call_s": 2}
        found = {"schema": 1, "port": port, "gateways": gateways, "instances": instances, **times, **more}
        # As a template_tree does: the file is another one each time.
        Path(f"{self.path}.new").write_text(json.dumps(found))
        Path(f"{self.path}.new").rename(self.path)

    def runs(self, invocation, name="ranker"):
        """Let a process of an instance run; an empty id ends it."""
        link = Path(self.marks.units, f"invocation:tfserving@{name}.service")
        link.unlink(missing_ok=True)
        if invocation:
            link.symlink_to(invocation)

    def door(self, run=lambda _arguments: (0, "", "")) -> Door:
        return Door(run, self.path, self.records, self.marks)

    def gates(self, watched, **more) -> Gates:
        return Gates(watched, self.marks, self.records, str(self.memory), **more)


def specific(*versions):
    return {"specific": {"versions": list(versions)}}


def poll(
    gateway="edge-1", backend="rest_m", server="h1-ranker", instance="ranker", generation="a", by_agent=True
) -> Poll:
    return Poll(instance, gateway, backend, server, generation, by_agent)


class FakeHost:
    """A host as the order of leaving sees it. ``asks`` are pairs that ask every half second, ``calls`` end by time."""

    def __init__(self, asks=(), calls=(), page=True, listens=True):
        self.time = 1000.0
        self.asks = list(asks)
        self.calls = list(calls)
        self.has_page = page
        self.is_listening = listens
        self.pollers = pollers.Pollers()
        self.closed_at = None
        self.deeds = []
        self.refused = False
        self.unable = ""
        self._ask()

    def _ask(self):
        for one, address in self.asks:
            self.pollers.told(one, address, self.closed_at is None, self.time)
        self.next_poll = self.time + 0.5

    def now(self):
        return self.time

    def sleep(self, seconds):
        end = self.time + seconds
        while self.next_poll <= end:
            self.time = self.next_poll
            self._ask()
        self.time = end

    def close(self, name):
        self.deeds.append(f"close {name}")
        self.closed_at = self.time
        return 0.0

    def page(self):
        return self.pollers.page(self.time) if self.has_page else None

    def listens(self, _port):
        return self.is_listening

    def established(self, ports):
        if self.unable:
            raise RuntimeError(self.unable)
        if self.deeds[-1] != "look":
            self.deeds.append("look")
        return [Socket(ports[0], peer, self.time - end, waiting=False) for peer, end in self.calls if end is not None]

    def refuse(self, instance):
        self.deeds.append(f"refuse {instance.name}")
        self.refused = True
