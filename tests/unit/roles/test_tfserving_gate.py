# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The program of the gates as the role lays it down: its unit, and the companion as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import unit_cases
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import config as configs
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED
from gate_cases import Folder
from patience import LONG_S
from ports import free_port
from serving_double import FakeServer, Model
from shipped_program import GATE


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program as it stands on a host."""
    return GATE.lay_down(tmp_path_factory.mktemp("gate"))


# The places of a host, moved below a folder, with limits that no machine reaches, however long it stands still.
MOVED = """
import sys
sys.path.insert(0, {lib!r})
from fleet.gate import __main__, companion, config, door, health, marks, record
companion.CALL_S = {call_s}
__main__._PROGRAM_S = __main__._FIRST_LOOKS_S = door.PAGE_S = health.LOOK_S = health.OLDEST_S = {long_s}
config.PATH, record.FOLDER = {path!r}, {records!r}
marks.FOLDER, marks.UNITS = {marks!r}, {units!r}
sys.exit(__main__.main(sys.argv[1:]))
"""


class Place:
    """A host's folder, programs that say nothing and are written down, and systemd's socket."""

    def __init__(self, program, root):
        self.folder = Folder(root)
        self.root = root
        self.told = root / "told"
        folder = self.folder
        places = {"lib": str(program.parent / "lib"), "path": folder.path, "records": folder.records}
        places.update(marks=folder.marks.folder, units=folder.marks.units)
        self.script = MOVED.format(**places, call_s=LONG_S, long_s=LONG_S)
        # Of a companion that cuts off those who are slow.
        self.strict = MOVED.format(**places, call_s=0.5, long_s=LONG_S)
        (root / "bin").mkdir()
        for name in ("ss", "nft", "systemctl"):
            (root / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {self.told}\n')
            (root / "bin" / name).chmod(0o755)
        self.inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inbox.bind(str(root / "notify"))
        self.inbox.settimeout(LONG_S)
        self.environment = {
            "PATH": f"{root}/bin:/usr/bin:/bin",
            "NOTIFY_SOCKET": str(root / "notify"),
            "RUNTIME_DIRECTORY": str(folder.memory),
        }
        self.processes = []

    def command(self, *words, script=None):
        return [sys.executable, "-I", "-B", "-c", script or self.script, *words]

    def serve(self, script=None):
        process = subprocess.Popen(
            self.command("serve", script=script), env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process

    def await_word(self, word):
        while self.inbox.recv(4096) != word:
            pass

    def run(self, *words):
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=LONG_S, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def ask(self, port, data):
        said = b""
        with socket.create_connection(("127.0.0.1", port), timeout=LONG_S) as wire:
            wire.sendall(data)
            while chunk := wire.recv(65536):
                said += chunk
        return said

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stderr.close()
        self.inbox.close()


@pytest.fixture
def place(program, tmp_path):
    place = Place(program, tmp_path)
    yield place
    place.close()


AGENT = b"gate ranker edge-1 rest_m/h1 g1\n"


def test_the_companion_serves_once_it_says_so_and_ends_when_it_is_told_to(place):
    port = free_port()
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        place.folder.write(port=port, rest=server.port)
        place.folder.runs("a")
        place.folder.marks.put("ranker", ADMITTED)
        process = place.serve()
        place.await_word(b"READY=1")
        assert place.ask(port, AGENT) == b"up 100%\n"
        assert place.ask(port, b"GET /gate/ranker HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(place.ask(port, b"GET /gate HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2])["problem"] == ""
        place.await_word(b"WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == -signal.SIGTERM
        assert process.stderr.read() == ""


def test_a_slow_caller_holds_up_nobody(place):
    port = free_port()
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        place.folder.write(port=port, rest=server.port)
        place.folder.runs("a")
        place.serve(place.strict)
        place.await_word(b"READY=1")
        slow = [socket.create_connection(("127.0.0.1", port), timeout=LONG_S) for _number in range(20)]
        for wire in slow:
            wire.sendall(b"GET /gate HTTP/1.1\r\nX: ")
        # A machine that stands still makes this caller slow as well.
        while not (answer := place.ask(port, AGENT)):
            pass
        assert answer == b"down #starting: not admitted yet\n"
        # Each is cut off after a while, without an answer.
        for wire in slow:
            assert wire.recv(100) == b""
            wire.close()


def test_another_port_in_the_plan_ends_the_companion_for_its_successor(place):
    port, other = free_port(), free_port()
    place.folder.write(port=port, rest=free_port())
    first = place.serve()
    place.await_word(b"READY=1")
    place.folder.write(port=other, rest=free_port())
    assert first.wait(LONG_S) == 0
    place.serve()
    place.await_word(b"READY=1")
    assert place.ask(other, AGENT) == b"down #stopped: the server is not running\n"


def test_a_port_that_is_taken_and_a_missing_plan_are_said_in_one_sentence(place):
    code, _out, error = place.run("serve")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith(f"tfserving-gate: {place.folder.path}: cannot be read (No such file or directory)")
    with FakeServer() as server:
        place.folder.write(port=server.port)
        code, _out, error = place.run("serve")
    words = f"port {server.port} cannot be listened on (Address already in use); set tfserving_gate_port"
    assert (code, error) == (1, f"tfserving-gate: {words}\n")


def test_leaving_always_ends_well_and_says_what_happened(place):
    place.folder.write(port=free_port(), rest=free_port(), grpc=free_port())
    place.folder.runs("a")
    code, out, error = place.run("leave", "ranker")
    assert (code, error) == (0, "")
    words = r"tfserving-gate: ranker left the traffic after \d+\.\d s: the server takes no connections\n"
    assert re.fullmatch(words, out)
    assert place.folder.marks.of("ranker", "leaving") == "a"


def test_leaving_without_a_plan_does_not_hold_up_a_stop(place):
    code, out, error = place.run("leave", "ranker")
    assert (code, error) == (0, "")
    assert out.startswith("tfserving-gate: ranker stops without leaving the traffic: ")


def test_leaving_names_what_was_not_proven(place):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        place.folder.write(port=free_port(), rest=server.port, drain_timeout_s=0.2)
        place.folder.runs("a")
        code, out, _error = place.run("leave", "ranker")
    assert code == 0
    assert "ranker: not proven: nobody knows which gateways have seen the closed gate" in out
    assert re.search(
        rf"nft add table inet tfserving_gate.*ports {{ 8500, {server.port} }}", place.told.read_text(), re.S
    )


def test_a_process_is_admitted_by_the_command(place):
    place.folder.write()
    place.folder.runs("a")
    assert place.run("admit", "ranker") == (0, "tfserving-gate: ranker is admitted to the traffic\n", "")
    assert place.folder.marks.of("ranker", ADMITTED) == "a"
    assert place.run("admit", "ranker") == (0, "", "")


def test_admitting_without_a_plan_fails_in_one_sentence(place):
    place.folder.runs("a")
    code, out, error = place.run("admit", "ranker")
    assert (code, error, out.count("\n")) == (1, "", 1)
    assert "ranker cannot be admitted to the traffic" in out


def test_other_words_get_the_usage(program):
    for words in ([], ["leave"], ["serve", "x"], ["drop", "x"]):
        done = subprocess.run(
            [sys.executable, "-I", "-B", program, *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("tfserving-gate: the gates of a host's servers.\n")


def test_the_file_of_the_plan_is_what_the_program_reads(tmp_path):
    gateways = [{"name": "edge-1", "address": "10.0.0.7"}]
    wished = [unit_cases.instance(name="a"), unit_cases.instance(name="b")]
    planned = unit_cases.plan(unit_cases.box(), wished, gate={"gateways": gateways})
    path = tmp_path / "gate.json"
    path.write_text(
        unit_cases.rendered(GATE.role / "templates/host/etc/tfserving/gate.json.j2", tfserving_plan=planned)
    )
    found = configs.read(str(path))
    assert (found.port, found.gateways, found.longest_call_s) == (8490, ("edge-1",), 30)
    ports = {one["name"]: (one["ports"]["grpc"], one["ports"]["rest"]) for one in planned["instances"]}
    assert {name: one.ports for name, one in found.instances.items()} == ports
    assert all(one.models for one in found.instances.values())


def test_a_host_without_instances_has_a_file_as_well(tmp_path):
    path = tmp_path / "gate.json"
    planned = {"instances": [], **unit_cases.VARIABLES["tfserving_plan"]}
    path.write_text(
        unit_cases.rendered(GATE.role / "templates/host/etc/tfserving/gate.json.j2", tfserving_plan=planned)
    )
    assert configs.read(str(path)).instances == {}


def unit(**variables):
    path = GATE.role / "templates/host/etc/systemd/system/tfserving-gate.service.j2"
    return unit_cases.rendered(path, **variables)


def test_those_who_may_call_the_servers_and_gateways_may_ask_and_nobody_else():
    text = unit(tfserving_allow_from=["10.20.0.0/16", "localhost"], __tfserving_own_addresses=["localhost", "10.0.0.7"])
    assert "IPAddressDeny=any" in text
    assert re.findall(r"^IPAddressAllow=(.*)$", text, re.M) == ["localhost", "10.0.0.7", "10.20.0.0/16"]
    text = unit(tfserving_address_rules="nftables")
    assert "IPAddress" not in text
    assert "Requires=tfserving-addresses.service" in text


def test_it_is_never_given_up_and_stays_off_the_serving_cpus():
    lines = unit().splitlines()
    assert {"Restart=always", "StartLimitIntervalSec=0", "Slice=system.slice", "Type=notify"} <= set(lines)
    assert os.path.basename(next(line for line in lines if line.startswith("ExecStart="))) == "tfserving-gate serve"
