# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with a companion on a real port, a server behind it, programs that are written down, and gateways that ask."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from unittest import mock

from ansible_collections.tfserving.fleet.plugins.module_utils.gate import companion as companions
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import health, pollers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Watched
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED
from gate_cases import Folder
from patience import LONG_S
from ports import free_port
from serving_double import FakeServer, Model


class GateHost:
    """For a ``with`` statement. ``runs`` is what was started, ``connections`` what ss says."""

    def __init__(self, root, gateways=("edge-1",), companion=True, **more):
        self.folder = Folder(root)
        self.server = FakeServer(m=Model({7: "AVAILABLE"}))
        self.has_companion = companion
        self.programs = []
        self.connections = ""
        self.more = {"gateways": gateways, "rest": self.server.port, "grpc": free_port(), **more}
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.stack.enter_context(self.server)
        # No machine reaches these, however long it stands still.
        for owner, limit in ((companions, "CALL_S"), (health, "OLDEST_S"), (pollers, "SILENT_S")):
            self.stack.enter_context(mock.patch.object(owner, limit, LONG_S))
        if not self.has_companion:
            self.port = free_port()
            self._laid_down()
            return self
        wire = companions.listener(0)
        self.port = wire.getsockname()[1]
        self._laid_down()
        self.gates = self.folder.gates(Watched(self.folder.path))
        self.gates.look(self.gates.config.instances["ranker"], time.monotonic())
        self.companion = companions.Companion(self.gates, wire)
        thread = threading.Thread(target=self.companion.serve, args=(self.port,))
        thread.start()
        self.stack.callback(wire.close)
        self.stack.callback(thread.join)
        # Another port ends the companion, and no instances those that look at them.
        self.stack.callback(self._end)
        return self

    def _laid_down(self):
        self.folder.write(port=self.port, **self.more)
        self.folder.runs("a")
        self.folder.marks.put("ranker", ADMITTED)

    def _end(self):
        self.folder.write(port=1, names=[])
        # It looks at the plan when somebody comes.
        socket.create_connection(("127.0.0.1", self.port)).close()

    def __exit__(self, *error):
        self.stack.close()

    def run(self, arguments):
        """Start nothing, and answer as if."""
        self.programs.append(arguments)
        return (0, self.connections if arguments[0] == "ss" else "", "")

    @property
    def door(self):
        return self.folder.door(self.run)

    @property
    def refused(self):
        """Return the scripts that nft was given."""
        return [arguments[1] for arguments in self.programs if arguments[0] == "nft" and arguments[1] != "list"]

    def ask(self, data):
        """Ask the companion."""
        said = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LONG_S) as wire:
            wire.sendall(data)
            while chunk := wire.recv(65536):
                said += chunk
        return said

    @contextlib.contextmanager
    def gateway(self, name="edge-1", instance="ranker"):
        """Let a gateway ask by both protocols, again and again."""
        over, asked = threading.Event(), threading.Event()

        def go_on():
            while not over.is_set():
                self.ask(f"gate {instance} {name} rest_m/h1 g1\n".encode())
                self.ask(f"GET /gate/{instance}?gateway={name}&backend=rest_m&generation=g1 HTTP/1.0\r\n\r\n".encode())
                asked.set()
                over.wait(0.02)

        thread = threading.Thread(target=go_on)
        thread.start()
        asked.wait()
        try:
            yield
        finally:
            over.set()
            thread.join()
