# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What HAProxy says on its sockets, and what is made of strange answers."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import runtime

STAT = "# pxname,svname,qcur,scur,status,type,last_agt,rate,"
# Recorded from 2.6.12 after three reloads under load.
PROC = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
3055            master          2 [failed: 1]   0d00h00m19s     2.6.12-1+deb12u4
# workers
3635            worker          0               0d00h00m17s     2.6.12-1+deb12u4
# old workers
3058            worker          1               0d00h00m18s     2.6.12-1+deb12u3
# programs

"""


@pytest.fixture
def answering(tmp_path):
    """Return the path of a socket that answers each connection with the parts given."""
    ends, held = [], threading.Event()

    def answer(*parts: bytes, hold: bool = False) -> str:
        path = str(tmp_path / "a.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                while b"\n" not in connection.recv(4096):
                    pass
                try:
                    for part in parts:
                        connection.sendall(part)
                except OSError:
                    return
                if hold:
                    held.wait()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ends.append((listener, thread))
        return path

    yield answer
    held.set()
    for listener, thread in ends:
        listener.close()
        thread.join()


# --- the socket ----------------------------------------------------------------------------------------------


def test_haproxy_tells_its_generation_version_and_servers(gateway):
    told = runtime.info(runtime.ask(gateway.socket, "show info"))
    assert runtime.generation(told) == "abc"
    assert told["Name"] == "HAProxy"
    found = runtime.stat(runtime.ask(gateway.socket, "show stat"))
    assert list(found["frontends"]) == ["rest"]
    backend = found["backends"]["rest_ranker"]
    assert list(backend["servers"]) == ["edge-ranker", "other-ranker"]
    assert backend["servers"]["edge-ranker"]["status"] == "MAINT"
    assert [backend["servers"]["other-ranker"][key] for key in ("scur", "qcur", "econ", "eresp")] == [0, 0, 0, 0]


def test_the_master_answers_and_ends_its_answer(gateway):
    found = runtime.processes(runtime.ask(gateway.master_socket, "show proc"))
    assert found["master"]["pid"] == gateway.process.pid
    assert (len(found["workers"]), found["old_workers"]) == (1, [])


def test_a_socket_that_is_missing_is_named(tmp_path):
    with pytest.raises(runtime.SocketError) as caught:
        runtime.ask(str(tmp_path / "none"), "show info")
    assert str(caught.value) == f"{tmp_path}/none: HAProxy does not answer (No such file or directory)"


def test_haproxy_that_stands_still_is_not_waited_for(answering):
    with pytest.raises(runtime.SocketError, match=r"a\.sock: HAProxy does not answer \(timed out\)$"):
        runtime.ask(answering(b"half", hold=True), "show info", 0.2)


def test_a_master_that_is_being_reloaded_is_asked_again(gateway):
    for _turn in range(3):
        gateway.reload()
        assert runtime.processes(runtime.ask(gateway.master_socket, "show proc"))["master"]
        gateway.awaited()


def test_an_answer_without_end_is_cut(answering, monkeypatch):
    monkeypatch.setattr(runtime, "MOST_BYTES", 1 << 20)
    with pytest.raises(runtime.SocketError, match=r"HAProxy's answer has more than 1 MB$"):
        runtime.ask(answering(*[b"x" * 65536] * 20), "show info")


def test_an_answer_that_dribbles_has_an_end(answering, monkeypatch):
    clock = iter(range(0, 100, 20))
    monkeypatch.setattr(runtime.time, "monotonic", lambda: next(clock))
    with pytest.raises(runtime.SocketError, match=r"HAProxy's answer does not end$"):
        runtime.ask(answering(b"x"), "show info", 10)


def test_a_command_of_two_lines_is_not_sent():
    with pytest.raises(ValueError, match="one line"):
        runtime.ask("/nonexistent", "show info\nshutdown frontend rest")


# --- answers -------------------------------------------------------------------------------------------------


def test_the_words_of_an_agent_are_kept_and_made_harmless():
    rows = [
        'grpc_a,h1,0,2,DOWN (agent),2,"via agent : down (closed by alice: driver 570, then \x1b[31m)",7,',
        "grpc_a,BACKEND,5,9,UP,1,,,",
    ]
    backend = runtime.stat("\n".join([STAT, *rows, "", ""]))["backends"]["grpc_a"]
    assert backend["servers"]["h1"] == {
        "status": "DOWN (agent)",
        "last_agt": "via agent : down (closed by alice: driver 570, then \\x1b[31m)",
        "scur": 2,
        "qcur": 0,
        "rate": 7,
    }
    assert (backend["qcur"], backend["scur"], backend["status"]) == (5, 9, "UP")
    rows = runtime.rows({"grpc_a": backend})
    assert [(row["pxname"], row["svname"], row["status"], row["scur"]) for row in rows] == [
        ("grpc_a", "h1", "DOWN (agent)", 2),
        ("grpc_a", "BACKEND", "UP", 9),
    ]


@pytest.mark.parametrize("row", ["", "x", "a,b", "a,b,c,d,e,f,g,h,i,j,k", "a,h1,nine,1e9,UP,2,,,", "\0,,,,,,,"])
def test_rows_that_are_none_end_in_no_traceback(row):
    found = runtime.stat(f"{STAT}\n{row}\n\n")
    assert found.keys() == {"frontends", "backends"}


def test_a_table_that_breaks_off_is_none():
    rows = "rest_a,h1,0,2,UP,2,,7,\nrest_a,BACKEND,5,9,UP,1,,,\n"
    assert list(runtime.stat(f"{STAT}\n{rows}\n")["backends"]) == ["rest_a"]
    for cut in (f"{STAT}\n", f"{STAT}\n{rows}", f"{STAT}\n{rows}rest_b,h1,0"):
        with pytest.raises(runtime.SocketError, match=r"^show stat: HAProxy's answer breaks off$"):
            runtime.stat(cut)


def test_another_table_is_refused():
    with pytest.raises(runtime.SocketError, match=r"^show stat: HAProxy answers with something else \(Unknown\)$"):
        runtime.stat("Unknown\n")


def test_old_workers_and_failed_reloads_are_told():
    found = runtime.processes(PROC)
    assert found["master"] == {
        "pid": 3055,
        "reloads": 2,
        "uptime": "0d00h00m19s",
        "version": "2.6.12-1+deb12u4",
        "failed": 1,
    }
    assert [each["pid"] for each in found["workers"]] == [3635]
    assert [(each["pid"], each["version"]) for each in found["old_workers"]] == [(3058, "2.6.12-1+deb12u3")]


def test_a_master_that_is_none_is_refused():
    with pytest.raises(runtime.SocketError, match=r"^show proc: HAProxy's master answers with something else \(no\)$"):
        runtime.processes("no\n")


@pytest.mark.parametrize(
    ("description", "generation"),
    [
        ("tfserving-fleet generation 1a2b3c", "1a2b3c"),
        ("generation=1a2b3c", "1a2b3c"),
        ("my own proxy", ""),
        ("", ""),
    ],
)
def test_the_generation_is_read_from_the_description(description, generation):
    assert runtime.generation(runtime.info(f"Name: HAProxy\ndescription: {description}\n")) == generation


def test_the_entries_of_a_map_are_read(gateway, place):
    answer = runtime.ask(gateway.socket, f"show map {place.map}")
    assert runtime.entries(answer, str(place.map)) == {"ranker": "0", "wide": "50"}


def test_a_map_that_haproxy_does_not_have_is_named(gateway):
    with pytest.raises(runtime.SocketError, match=r"^/none: HAProxy shows no such map \(Unknown map identifier"):
        runtime.entries(runtime.ask(gateway.socket, "show map /none"), "/none")
