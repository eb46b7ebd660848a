# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a gateway runs, whether a new configuration has come up, and who has its ports."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import owners, runtime, state
from ansible_collections.tfserving.fleet.plugins.modules import gateway_state
from ports import free_port
from running import run_module

SECONDS = 600.0


def place_of(gateway) -> state.Place:
    return state.Place(gateway.socket, gateway.master_socket)


def read(gateway, *ports):
    return state.read(gateway.run, place_of(gateway), ports)


@pytest.fixture
def second(place):
    """Somebody else who listens on the gateway's port, as HAProxy lets everybody who asks for it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", place.port))
    listener.listen()
    yield listener
    listener.close()


def test_a_gateway_that_runs_is_told(gateway, place):
    found = read(gateway, place.port)
    assert (found["running"], found["generation"], found["problems"]) == (True, "abc", [])
    assert found["version"] == found["processes"]["workers"][0]["version"]
    assert list(found["backends"]["rest_ranker"]["servers"]) == ["edge-ranker", "other-ranker"]


def test_a_gateway_that_does_not_run_is_told(gateway):
    gateway.stop()
    found = read(gateway)
    assert (found["running"], found["generation"], found["backends"]) == (False, "", {})
    assert found["problems"] == ["haproxy.service: the unit is failed, result "]


def test_a_haproxy_without_our_socket_is_somebody_elses(gateway):
    os.unlink(gateway.socket)
    found = read(gateway)
    assert (found["running"], found["silent"], found["generation"]) == (True, False, "")
    assert found["problems"] == [f"{gateway.socket}: HAProxy does not answer (No such file or directory)"]


def test_our_haproxy_that_does_not_answer_is_told_from_one_without_backends(gateway, monkeypatch):
    assert read(gateway)["silent"] is False
    monkeypatch.setattr(runtime, "_AWAY_S", 0.0)
    os.unlink(gateway.socket)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(gateway.socket)
        found = read(gateway)
    assert (found["running"], found["silent"], found["backends"]) == (True, True, {})


# --- ports ---------------------------------------------------------------------------------------------------


def test_somebody_who_shares_a_port_is_named(gateway, place, second):
    who = f"process {os.getpid()} ("
    sentences = read(gateway, place.port)["problems"]
    assert len(sentences) == 1
    assert sentences[0].startswith(f"port {place.port}: {who}")
    assert sentences[0].endswith(") listens there as well and takes a share of the connections; stop it")


def test_somebody_who_has_the_port_instead_is_named(gateway):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (sentence,) = read(gateway, port)["problems"]
    assert sentence.startswith(f"port {port}: process {os.getpid()} (")
    assert sentence.endswith("listens there instead of HAProxy; stop it, or give the gateway another port")


def test_everybody_else_who_listens_is_named_before_a_port_is_theirs(gateway, place):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        others = state.read(gateway.run, place_of(gateway), with_others=True)["others"]
    assert others[port].startswith(f"process {os.getpid()} (")
    assert place.port not in others
    gateway.stop()
    with socket.create_server(("127.0.0.1", place.port)):
        assert place.port in state.read(gateway.run, place_of(gateway), with_others=True)["others"]


def test_a_port_on_which_nobody_listens_is_named(gateway):
    port = free_port()
    assert read(gateway, port)["problems"] == [f"port {port}: HAProxy does not listen there; see journalctl -u haproxy"]


def test_a_process_that_is_gone_while_it_is_looked_at_is_passed_over(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(
        "sl local\n 0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n"
    )
    (tmp_path / "5").mkdir()
    assert owners.listeners([8080], tmp_path) == {8080: set()}


# --- a new configuration -------------------------------------------------------------------------------------


def test_a_reload_is_awaited(gateway, place):
    gateway.write(place.config("def"))
    gateway.reload()
    found = state.await_generation(gateway.run, place_of(gateway), "def", [place.port], SECONDS)
    assert found["generation"] == "def"
    assert found["processes"]["master"]["failed"] == 0


def test_a_configuration_that_does_not_come_up_is_told_in_haproxys_words(gateway, place, monkeypatch):
    monkeypatch.setattr(state, "_GRACE_S", 0.0)
    # The check of the file cannot know that the port is taken.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bind = f"bind 127.0.0.1:{place.port}"
        gateway.write(place.config("def").replace(bind, f"{bind}\n    bind 127.0.0.1:{port}"))
        gateway.reload()
        while not read(gateway)["processes"]["master"]["failed"]:
            gateway.awaited()
        with pytest.raises(RuntimeError) as caught:
            state.await_generation(gateway.run, place_of(gateway), "def", [place.port], SECONDS)
    sentence, *words = str(caught.value).splitlines()
    assert sentence == "HAProxy does not run generation def: its worker runs abc"
    assert any(f"cannot bind socket (Address already in use) for [127.0.0.1:{port}]" in line for line in words)
    # The old worker goes on meanwhile.
    assert read(gateway, place.port)["problems"] == []


def test_somebody_on_the_port_keeps_a_reload_from_counting(gateway, place, second, monkeypatch):
    monkeypatch.setattr(state, "_GRACE_S", 0.0)
    with pytest.raises(RuntimeError, match=r"HAProxy does not run generation abc: port .* listens there as well"):
        state.await_generation(gateway.run, place_of(gateway), "abc", [place.port], SECONDS)


def test_a_reload_that_never_comes_is_not_waited_for(gateway):
    with pytest.raises(RuntimeError, match=r"^HAProxy does not run generation def: its worker runs abc"):
        state.await_generation(gateway.run, place_of(gateway), "def", [], 0.1)


def test_complaints_about_servers_are_no_complaints_about_the_configuration(gateway):
    gateway.log.write_text(
        "[ALERT] (1) : backend 'rest_a' has no server available!\n[NOTICE] (1) : New worker\n"
        "[ALERT] (1) : [haproxy.cfg:3] : unknown keyword\n"
    )
    assert state.complaints(gateway.run, place_of(gateway)) == "\n[ALERT] (1) : [haproxy.cfg:3] : unknown keyword"
    gateway.log.write_text("[NOTICE] (1) : New worker\n")
    assert state.complaints(gateway.run, place_of(gateway)) == ""


# --- packages and the module ---------------------------------------------------------------------------------


def dpkg(arguments):
    answers = {
        ("dpkg-query", "haproxy"): (0, "installed 2.6.12-1+deb12u4", ""),
        ("dpkg-query", "keepalived"): (0, "config-files 1:2.2.7-1", ""),
        ("apt-cache", "haproxy"): (0, "haproxy:\n  Installed: 2.6.12\n  Candidate: 2.6.12-1+deb12u4\n", ""),
        ("apt-cache", "keepalived"): (0, "keepalived:\n  Installed: (none)\n  Candidate: 1:2.2.7-1+b2\n", ""),
        ("apt-cache", "python3-h2"): (0, "python3-h2:\n  Installed: (none)\n  Candidate: (none)\n", ""),
    }
    return answers.get((arguments[0], arguments[-1]), (1, "", "no"))


def test_packages_are_told_as_installed_and_as_apt_has_them():
    assert state.packages(dpkg, ["haproxy", "keepalived", "python3-h2", "unknown"]) == {
        "haproxy": {"installed": "2.6.12-1+deb12u4", "candidate": "2.6.12-1+deb12u4"},
        "keepalived": {"installed": "", "candidate": "1:2.2.7-1+b2"},
        "python3-h2": {"installed": "", "candidate": ""},
        "unknown": {"installed": "", "candidate": ""},
    }


def test_the_module_reads_and_waits(gateway, place, monkeypatch):
    monkeypatch.setattr(gateway_state, "runner", lambda _module: gateway.run)
    sockets = {"socket": gateway.socket, "master_socket": gateway.master_socket}
    found = run_module(gateway_state, ports=[place.port], generation="abc", packages=["haproxy"], **sockets)
    assert (found["changed"], found["generation"], found["problems"]) == (False, "abc", [])
    assert found["packages"] == {"haproxy": {"installed": "", "candidate": ""}}


def test_the_module_fails_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway_state, "runner", lambda _module: lambda _arguments: (1, "", "no bus"))
    found = run_module(gateway_state, socket=str(tmp_path / "a"), master_socket=str(tmp_path / "b"))
    assert found["msg"] == "systemd does not report the state of haproxy.service (no bus)"
