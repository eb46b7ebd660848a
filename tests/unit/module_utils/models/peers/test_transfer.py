# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Transfers between a holder, which is a process of its own here as well, and a reader, over loopback."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import holder as program
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import manifest as manifests
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers import pull as pulling
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.incoming import Incoming
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.pull import Holder, HolderError, pull
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import Attributes, Store
from archive_files import read_tree, write_tree
from ports import free_port
from saved_models import INDEX, MODEL, SHARD

TOKEN = "5e" * 32
LARGE = {**MODEL, SHARD: os.urandom(3 * program.CHUNK + 17), "assets/empty": b"", "assets/é 1": b"one"}


def manifest_of(files):
    entries = {path: [hashlib.sha256(content).hexdigest(), len(content)] for path, content in files.items()}
    return manifests.read({"sha256": "0" * 64, "files": entries})


def offer_of(tree, manifest, **changed):
    files = {digest: {"path": path, "size": size} for path, (digest, size) in manifest.files.items()}
    offer = {"address": "127.0.0.1", "port": 0, "reader": "127.0.0.1", "token": TOKEN, "rate": 0}
    return {**offer, "idle_s": 600, "longest_s": 600, "tree": str(tree), "files": files, **changed}


class Process:
    """A holder that runs, as systemd would start it."""

    def __init__(self, offer) -> None:
        arguments = [sys.executable, "-I", program.__file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(arguments, **pipes, text=True)
        self.process.stdin.write(json.dumps(offer))
        self.process.stdin.close()
        self.said = self.process.stdout.readline()
        found = re.search(r"port ([0-9]+)$", self.said)
        self.port = int(found.group(1)) if found else 0

    def holder(self, **changed) -> Holder:
        return Holder(**{"address": "127.0.0.1", "port": self.port, "token": TOKEN, **changed})

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def offered():
    running = []

    def start(tree, manifest, **changed):
        running.append(Process(offer_of(tree, manifest, **changed)))
        return running[-1]

    yield start
    for each in running:
        each.end()


@pytest.fixture
def tree(tmp_path) -> Path:
    write_tree(tmp_path / "holder" / "7", LARGE)
    return tmp_path / "holder" / "7"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "reader"), Attributes(file_mode=0o640, directory_mode=0o750))


@contextmanager
def answering(answer):
    """Serve one connection after the other with a function; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as wire:
        ended = threading.Event()

        def run():
            while not ended.is_set():
                connection, _peer = wire.accept()
                with connection:
                    if not ended.is_set():
                        # The reader may go at any time.
                        with suppress(OSError):
                            answer(connection, ended)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield wire.getsockname()[1]
        finally:
            ended.set()
            socket.create_connection(wire.getsockname()).close()
            thread.join()


def asked(connection) -> bytes:
    heard = b""
    while b"\r\n\r\n" not in heard:
        chunk = connection.recv(4096)
        if not chunk:
            raise ConnectionError
        heard += chunk
    return heard


def call(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.sendall(text)
        return b"".join(iter(lambda: wire.recv(65536), b""))


def get(port: int, path: str, token: str = TOKEN, more: str = "") -> bytes:
    return call(port, f"GET {path} HTTP/1.1\r\n{program.TOKEN}: {token}\r\n{more}Connection: close\r\n\r\n".encode())


# --- what works --------------------------------------------------------------------------------------------


def test_a_version_arrives_whole_with_its_modes_and_out_of_the_servers_sight(tree, store, offered):
    manifest = manifest_of(LARGE)
    done = pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    incoming = Incoming(store, "ranker", 7)
    assert read_tree(Path(incoming.tree)) == LARGE
    assert (done.received, done.resumed) == (manifest.size, 0)
    assert incoming.is_verified(manifest)
    assert store.versions("ranker") == []
    assert os.stat(os.path.join(incoming.tree, SHARD)).st_mode & 0o777 == 0o640
    assert os.stat(os.path.join(incoming.tree, "variables")).st_mode & 0o777 == 0o750


def test_a_version_that_is_here_is_not_asked_for_again(tree, store, offered):
    manifest = manifest_of(LARGE)
    process = offered(tree, manifest)
    pull(store, "ranker", 7, manifest, process.holder())
    process.end()
    assert pull(store, "ranker", 7, manifest, process.holder()).received == 0


def test_a_reader_becomes_a_holder(tree, store, offered, tmp_path):
    manifest = manifest_of(LARGE)
    pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    third = Store(str(tmp_path / "third"))
    pull(third, "ranker", 7, manifest, offered(Incoming(store, "ranker", 7).tree, manifest).holder())
    assert read_tree(Path(Incoming(third, "ranker", 7).tree)) == LARGE


def test_a_holder_that_dies_midway_is_followed_by_another_that_goes_on(tree, store, offered):
    manifest = manifest_of(LARGE)
    # One chunk of the largest file leaves at once, the next after five minutes.
    slow = offered(tree, manifest, rate=program.CHUNK / 300)
    place = Path(Incoming(store, "ranker", 7).tree, SHARD)
    failed = []

    def read():
        try:
            pull(store, "ranker", 7, manifest, slow.holder())
        except HolderError as error:
            failed.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    while not place.exists() or not place.stat().st_size:
        time.sleep(0.01)
    slow.process.kill()
    reader.join()
    assert len(failed) == 1
    assert re.match("the transfer broke off|it ended with", failed[0])
    before = sum(len(content) for content in read_tree(Path(Incoming(store, "ranker", 7).tree)).values())
    done = pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    assert read_tree(place.parents[1]) == LARGE
    assert done.resumed == before
    assert done.received == manifest.size - before


def test_what_an_earlier_holder_sent_wrongly_is_fetched_again(tree, store, offered):
    manifest = manifest_of(LARGE)
    incoming = Incoming(store, "ranker", 7)
    incoming.begin(manifest)
    write_tree(Path(incoming.tree), {SHARD: b"x" * program.CHUNK, INDEX: b"y" * len(LARGE[INDEX])})
    pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    assert read_tree(Path(incoming.tree)) == LARGE


def test_what_is_left_of_another_content_under_the_number_is_dropped(tree, store, offered):
    other = manifest_of({**LARGE, "assets/more": b"more"})
    incoming = Incoming(store, "ranker", 7)
    incoming.begin(other)
    write_tree(Path(incoming.tree), {"assets/more": b"more"})
    incoming.finish(other)
    manifest = manifest_of(LARGE)
    assert not incoming.is_verified(manifest)
    pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    assert read_tree(Path(incoming.tree)) == LARGE


def test_a_damaged_record_of_an_earlier_transfer_counts_as_none(tree, store, offered):
    manifest = manifest_of(LARGE)
    incoming = Incoming(store, "ranker", 7)
    incoming.begin(manifest)
    Path(incoming.place, "manifest.json").write_text('{"sha256": 7}')
    Path(incoming.place, "verified.json").write_text("[]")
    assert incoming.manifest() is None
    assert not incoming.is_verified(manifest)
    pull(store, "ranker", 7, manifest, offered(tree, manifest).holder())
    assert incoming.is_verified(manifest)


# --- what a holder refuses ---------------------------------------------------------------------------------


def test_a_wrong_token_is_refused_and_says_so(tree, store, offered):
    manifest = manifest_of(LARGE)
    process = offered(tree, manifest)
    for token in ("5f" * 32, "", "é"):
        assert get(process.port, f"/{manifest.files[SHARD][0]}", token).startswith(b"HTTP/1.1 403 ")
    assert call(process.port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    with pytest.raises(HolderError, match=r"^it refused the token$"):
        pull(store, "ranker", 7, manifest, process.holder(token="5f" * 32))


@pytest.mark.parametrize(
    "path", ["/", "/../../secret", "/..%2fsecret", "//secret", f"/{SHARD}", "/saved_model.pb", f"/{'0' * 64}", "*"]
)
def test_a_path_is_never_answered(path, tree, offered):
    (tree.parent / "secret").write_text("secret")
    answer = get(offered(tree, manifest_of(LARGE)).port, path)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_file_beside_those_of_the_manifest_is_not_offered(tree, offered):
    write_tree(tree, {"assets.extra/tf_serving_warmup_requests": b"records"})
    digest = hashlib.sha256(b"records").hexdigest()
    assert get(offered(tree, manifest_of(LARGE)).port, f"/{digest}").startswith(b"HTTP/1.1 404 ")


def test_a_link_is_not_followed(tree, offered):
    (tree.parent / "secret").write_bytes(LARGE[INDEX])
    (tree / INDEX).unlink()
    (tree / INDEX).symlink_to(tree.parent / "secret")
    manifest = manifest_of(LARGE)
    assert get(offered(tree, manifest).port, f"/{manifest.files[INDEX][0]}").startswith(b"HTTP/1.1 410 ")


def test_a_file_that_has_changed_its_length_is_not_sent(tree, store, offered):
    manifest = manifest_of(LARGE)
    process = offered(tree, manifest)
    (tree / INDEX).write_bytes(b"short")
    with pytest.raises(HolderError, match=r"^its files have changed since they were published$"):
        pull(store, "ranker", 7, manifest, process.holder())


@pytest.mark.parametrize("span", ["bytes=99999999999-", "bytes=-5", "bytes=0-5", "lines=1-"])
def test_an_odd_range_is_refused(span, tree, offered):
    manifest = manifest_of(LARGE)
    answer = get(offered(tree, manifest).port, f"/{manifest.files[INDEX][0]}", more=f"Range: {span}\r\n")
    assert answer.startswith(b"HTTP/1.1 416 ")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "HEAD"])
def test_there_is_nothing_but_get(method, tree, offered):
    answer = call(offered(tree, manifest_of(LARGE)).port, f"{method} / HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 501 ")


def test_nobody_but_the_reader_is_heard(tree, store, offered):
    manifest = manifest_of(LARGE)
    process = offered(tree, manifest, reader="127.0.0.2")
    # It may be closed before the question is read.
    with suppress(ConnectionError):
        assert get(process.port, f"/{manifest.files[INDEX][0]}") == b""
    with pytest.raises(HolderError, match=r"^(the transfer broke off|it ended with)"):
        pull(store, "ranker", 7, manifest, process.holder())


# --- when a holder ends ------------------------------------------------------------------------------------


def test_a_holder_ends_if_nobody_asks(tree, offered):
    process = offered(tree, manifest_of(LARGE), idle_s=0.2)
    assert process.process.wait() == 0


def test_a_holder_ends_if_the_reader_says_nothing(tree, offered):
    process = offered(tree, manifest_of(LARGE), idle_s=0.3)
    with socket.create_connection(("127.0.0.1", process.port)):
        assert process.process.wait() == 0


def test_a_holder_ends_in_time_whatever_the_reader_does(tree, offered):
    manifest = manifest_of(LARGE)
    # The second chunk would leave after its end.
    process = offered(tree, manifest, longest_s=0.5, rate=program.CHUNK)
    with suppress(ConnectionError):
        assert len(get(process.port, f"/{manifest.files[SHARD][0]}")) < len(LARGE[SHARD])
    assert process.process.wait() == 0


def test_a_taken_port_is_said(tree, offered):
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process = offered(tree, manifest_of(LARGE), port=port)
        assert process.process.wait() == 1
    said = process.process.stderr.read()
    assert (
        said == f"tfserving-peer: {tree} cannot be offered at 127.0.0.1 port {port}: {os.strerror(errno.EADDRINUSE)}\n"
    )


def test_a_holder_tells_systemd_that_it_is_ready(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        program.ready()
        assert wire.recv(100) == b"READY=1"


def test_the_pace_keeps_to_the_rate(monkeypatch):
    now, slept = [100.0], []
    monkeypatch.setattr(program.time, "monotonic", lambda: now[0])

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(program.time, "sleep", sleep)
    pace = program.Pace(1000)
    for _ in range(3):
        pace.wait(500)
    assert slept == [0, 0.5, 0.5]
    now[0] += 60
    pace.wait(500)
    assert slept[-1] == 0
    program.Pace(0).wait(10**12)
    assert len(slept) == 4


# --- what a reader refuses ---------------------------------------------------------------------------------


def refused(store, answer, **changed) -> str:
    manifest = manifest_of(MODEL)
    with answering(answer) as port, pytest.raises(HolderError) as error:
        pull(store, "ranker", 7, manifest, Holder("127.0.0.1", port, TOKEN, **changed))
    assert not Incoming(store, "ranker", 7).is_verified(manifest)
    return str(error.value)


def replies(head: str, content: bytes = b""):
    def answer(connection, _ended):
        asked(connection)
        connection.sendall(head.encode() + content)

    return answer


def of_first(number: int) -> int:
    """Return the length of the first file that is asked for, and more."""
    return len(MODEL[min(MODEL)]) + number


def test_anothers_file_is_refused_and_nothing_of_it_stays(store):
    def answer(connection, _ended):
        while asked(connection):
            connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {of_first(0)}\r\n\r\n".encode())
            connection.sendall(b"x" * of_first(0))

    assert refused(store, answer) == f"it sent {min(MODEL)} with other content than the controller has"
    assert read_tree(Path(Incoming(store, "ranker", 7).tree)) == {min(MODEL): b""}


def test_a_truncated_transfer_is_refused(store):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {of_first(0)}\r\n\r\n"
    assert refused(store, replies(head, b"x")) == "it ended with 1 MiB of a file to come"


@pytest.mark.parametrize("more", [-1, 1])
def test_another_length_is_refused(store, more):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {of_first(more)}\r\n\r\n"
    assert refused(store, replies(head)) == "what it sends is not as long as the controller says"


def test_an_answer_without_a_length_is_refused(store):
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refused(store, replies(head)) == "what it sends is not as long as the controller says"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "it does not offer what the controller says"),
        ("HTTP/1.1 416 Odd\r\n\r\n", "what it has is shorter than what is here"),
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", "its answer is not that of a holder"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not that of a holder"),
        ("X: y\r\n" * 10_000, "its answer has no end"),
    ],
)
def test_what_is_no_holder_is_refused(store, head, words):
    assert refused(store, replies(head)) == words


def test_a_silent_holder_is_given_up(store):
    def answer(connection, ended):
        asked(connection)
        ended.wait()

    assert refused(store, answer, silence_s=0.3) == "it sent nothing for 0.3 s"


def test_a_holder_that_sends_a_byte_at_a_time_is_given_up_in_time(store):
    def answer(connection, ended):
        asked(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {of_first(0)}\r\n\r\n".encode())
        while not ended.wait(0.05):
            connection.sendall(b"x")

    assert refused(store, answer, limit_s=0.5) == "it did not send everything within 0.5 s"


def test_a_port_where_nobody_listens_is_said(store):
    with pytest.raises(HolderError, match=r"^the transfer broke off: Connection refused$"):
        pull(store, "ranker", 7, manifest_of(MODEL), Holder("127.0.0.1", free_port(), TOKEN))


def test_a_reader_without_room_refuses_before_it_asks(tmp_path):
    full = Store(str(tmp_path / "reader"), margin=1 << 60)
    with pytest.raises(RefusalError, match=r"^it needs 1 MiB and "):
        pull(full, "ranker", 7, manifest_of(MODEL), Holder("127.0.0.1", free_port(), TOKEN))


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "^it needs 1 MiB and "), (errno.EIO, "^Input/output error; check that host$")]
)
def test_a_disk_that_fails_is_the_readers_own_trouble(tree, store, offered, monkeypatch, number, words):
    manifest = manifest_of(MODEL)

    def fail(_file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pulling, "_to_disk", fail)
    with pytest.raises(RefusalError, match=words):
        pull(store, "ranker", 7, manifest, offered(tree, manifest_of(LARGE)).holder())


# --- manifests ---------------------------------------------------------------------------------------------


def test_the_digest_of_a_manifest_is_that_of_the_directory(tree):
    assert manifest_of(LARGE).tree == archives.directory_digest(str(tree))


GOOD = {"sha256": "0" * 64, "files": {"saved_model.pb": ["1" * 64, 5]}}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {**GOOD, "sha256": "0"},
        {**GOOD, "files": {}},
        {**GOOD, "files": {"saved_model.pb": "1" * 64}},
        {**GOOD, "files": {"saved_model.pb": ["1" * 64]}},
        {**GOOD, "files": {"saved_model.pb": ["1" * 64, -1]}},
        {**GOOD, "files": {"saved_model.pb": ["1" * 64, True]}},
        {**GOOD, "files": {"saved_model.pb": ["1" * 64, 1 << 50]}},
        {**GOOD, "files": {"saved_model.pb": ["G" * 64, 5]}},
    ],
)
def test_a_damaged_manifest_is_refused(value):
    with pytest.raises(RefusalError, match=r"^the manifest is damaged; give it as the controller has made it$"):
        manifests.read(value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\nb", "", "a/"])
def test_a_name_that_leads_out_is_refused(name):
    with pytest.raises(RefusalError):
        manifests.read({**GOOD, "files": {name: ["1" * 64, 5]}})


def test_a_manifest_stays_the_same_as_an_argument():
    assert manifests.read(json.loads(json.dumps(manifests.read(GOOD).plain()))) == manifests.read(GOOD)
