# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How each fault is injected into a live host and undone: contexts, which may yield variables for diagnose.yml.

The ranks that they must reach are in tests/unit/support/fault_injections.yml.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import certificates
from callers import await_that
from faulty_host import CONFIG, MODELS, RUN, Machine, load

Injection = Callable[[Machine], AbstractContextManager[dict[str, Any] | None]]
INJECTIONS: dict[str, Injection] = {}

SPINS = "while True: pass"
LISTENS_FOR_NOBODY = """
import socket
queue = socket.create_server(("127.0.0.1", 7999), backlog=1)
waiting = []
while True:
    caller = socket.socket()
    caller.settimeout(0.05)
    try:
        caller.connect(("127.0.0.1", 7999))
    except OSError:
        pass
    waiting = [*waiting[-20:], caller]
"""
ANSWERS_LATE = """
import socket, threading
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.9", 53))
while True:
    asked, caller = names.recvfrom(512)
    end = asked.index(bytes(1), 12) + 5
    # The question again; for an address of IPv4 with one, for others with none.
    wanted = asked[end - 4 : end - 2] == bytes([0, 1])
    answer = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1]) if wanted else b""
    head = asked[:2] + bytes([0x81, 0x80, 0, 1, 0, wanted, 0, 0, 0, 0])
    threading.Timer(1.5, names.sendto, (head + asked[12:end] + answer, caller)).start()
"""
CLOSES_FIRST = """
import socket
queue = socket.create_server(("127.0.0.1", 7998))
for _number in range(120):
    with socket.create_connection(("127.0.0.1", 7998)) as caller:
        answer, _address = queue.accept()
    answer.close()
"""
COMES_AND_GOES = """
import os, time
here, aside = "{0}/digits/1", "{0}/digits/.1"
while True:
    for one, other in ((here, aside), (aside, here)):
        time.sleep(1.3)
        os.rename(one, other)
"""


def injection(fault: str) -> Callable[[Callable[[Machine], Iterator[dict[str, Any] | None]]], Injection]:
    """Add a function to the table."""

    def add(function: Callable[[Machine], Iterator[dict[str, Any] | None]]) -> Injection:
        INJECTIONS[fault] = contextmanager(function)
        return INJECTIONS[fault]

    return add


def calls(machine: Machine, name: str = "main", rows: int = 1, **options: Any) -> AbstractContextManager[list[int]]:
    server = machine.servers[name]
    return load(server, [server.body(rows)], **options)


# Of the machine.


@injection("cpu.neighbour")
def neighbour(machine):
    cpu = machine.run(f"taskset -cp {machine.pid('main')}").rpartition(" ")[2]
    with ExitStack() as others:
        for number in range(2):
            others.enter_context(machine.beside(SPINS, f"-p CPUAffinity={cpu}", unit=f"fault-{number}"))
        others.enter_context(calls(machine, callers=4))
        yield


@injection("cpu.throttled")
def throttled(machine):
    unit = machine.servers["main"].unit
    machine.run(f"systemctl set-property --runtime {unit} CPUQuota=15%")
    try:
        with calls(machine, callers=4):
            yield
    finally:
        machine.run(f"systemctl set-property --runtime {unit} CPUQuota=")
        machine.run("rm -rf /run/systemd/system.control && systemctl daemon-reload")


@injection("cpu.drift")
def drift(machine):
    pid = machine.pid("main")
    planned = machine.run(f"taskset -cp {pid}").rpartition(" ")[2]
    machine.run(f"taskset -acp {1 - int(planned)} {pid}")
    try:
        with calls(machine, callers=6):
            yield
    finally:
        machine.run(f"taskset -acp {planned} {pid}")


@injection("cpu.oversubscribed")
def oversubscribed(machine):
    wide = ("tensorflow_intra_op_parallelism=64", "tensorflow_inter_op_parallelism=64")
    with machine.flags("main", *wide):
        machine.heals()
        with calls(machine, rows=64, callers=12):
            yield


@injection("memory.growth")
def other_allocator(machine):
    with machine.drop_in("main", "[Service]\nUnsetEnvironment=LD_PRELOAD\n"):
        machine.heals()
        yield


@injection("host.files")
def open_files(machine):
    server = machine.servers["main"]
    with machine.drop_in("main", "[Service]\nLimitNOFILE=120\n"), ExitStack() as callers:
        machine.heals()
        for _number in range(200):
            callers.enter_context(socket.create_connection((server.address, server.port)))
        await_that(lambda: machine.opened("main") >= 119, "all files are open")
        yield


@injection("disk.full")
def disk_full(machine):
    machine.run(f"mkdir -p {RUN}/disk && mount -t tmpfs -o size=64m fault {RUN}/disk")
    machine.run(f"cp --archive {MODELS}/. {RUN}/disk && mount --bind {RUN}/disk {MODELS}")
    machine.run(f"head -c 64M /dev/zero > {RUN}/disk/.filler 2> /dev/null || true")
    try:
        yield
    finally:
        machine.run(f"umount {MODELS} && umount {RUN}/disk")


@injection("net.listen_overflow")
def listen_overflow(machine):
    with machine.beside(LISTENS_FOR_NOBODY):
        yield


@injection("net.loss")
def loss(machine):
    # Kernels of engines rarely have netem; a bucket that runs over loses packets too.
    machine.run("tc qdisc add dev eth0 root tbf rate 3mbit burst 4k limit 9k")
    try:
        with calls(machine, rows=300, callers=8):
            yield
    finally:
        machine.run("tc qdisc del dev eth0 root")


@injection("net.ports")
def ports(machine):
    machine.run("mount --bind /proc/sys/net /proc/sys/net && mount --options remount,bind,rw /proc/sys/net")
    usual = machine.run("sysctl -n net.ipv4.ip_local_port_range").replace("\t", " ")
    try:
        with machine.beside(CLOSES_FIRST):
            await_that(lambda: "TIME-WAIT" in machine.run("ss -Htan"), "connections are closed")
            machine.run("sysctl -qw net.ipv4.ip_local_port_range='33000 33099'")
            yield
    finally:
        machine.run(f"sysctl -qw net.ipv4.ip_local_port_range='{usual}'; umount /proc/sys/net")


@injection("net.dns")
def slow_names(machine):
    usual = machine.run("cat /etc/resolv.conf")
    with machine.beside(ANSWERS_LATE):
        machine.run("echo nameserver 127.0.0.9 > /etc/resolv.conf")
        try:
            yield {"diagnosis_resolve": ["no-host.example"]}
        finally:
            machine.run(f"printf '%s\\n' '{usual}' > /etc/resolv.conf")


@injection("tls.certificate")
def certificate(machine):
    path, (expired, _key) = f"{RUN}/expired.pem", certificates.self_signed("old", days=-1)
    machine.run(f"mkdir -p {RUN} && printf %s '{expired.decode()}' > {path}")
    yield {"diagnosis_certificates": [path]}


# Of models.


@injection("model.stuck")
def stuck(machine):
    pid = machine.pid("main")
    machine.run(f"kill -STOP {pid}")
    try:
        yield
    finally:
        machine.run(f"kill -CONT {pid}")


@injection("models.base_path")
def base_path(machine):
    with machine.moved(f"{MODELS}/digits", f"{MODELS}/.digits"):
        yield


@injection("models.label")
def label(machine):
    with machine.moved(f"{MODELS}/ranker/1", f"{MODELS}/ranker/.1"):
        await_that(lambda: not machine.servers["batched"].serves(), "the version has gone")
        yield


@injection("models.reload_loop")
def reload_loop(machine):
    try:
        with machine.beside(COMES_AND_GOES.format(MODELS)):
            yield {"diagnosis_seconds": 10}
    finally:
        machine.run(f"! test -d {MODELS}/digits/.1 || mv {MODELS}/digits/.1 {MODELS}/digits/1")
        machine.heals()


@injection("model.load_fails")
def load_fails(machine):
    here = f"{MODELS}/digits/1"
    with machine.moved(here, f"{MODELS}/digits/.1"):
        await_that(lambda: not machine.servers["main"].serves(), "the version has gone")
        machine.run(f"mkdir -p {RUN}/1 && echo no model > {RUN}/1/saved_model.pb && mv {RUN}/1 {here}")
        await_that(lambda: machine.servers["main"].states().get("1") == "END", "its last attempt has failed")
        yield


@injection("model.version_skew")
def version_skew(machine):
    path = f"{CONFIG}/main/models.config"
    text = machine.run(f"cat {path}").replace("versions: 1", "versions: 2")
    machine.run(f"cp --archive {MODELS}/digits/1 {MODELS}/digits/2")
    try:
        with machine.file(path, text):
            await_that(lambda: machine.servers["main"].serves("2"), "version 2 serves")
            await_that(lambda: not machine.servers["main"].serves("1"), "version 1 does not")
            yield
    finally:
        machine.heals()
        machine.run(f"rm -r {MODELS}/digits/2")


@injection("model.json")
def json_overhead(machine):
    with calls(machine, rows=6000, callers=2, least=2):
        yield


# Of settings.


@injection("flags.unknown")
def unknown_flag(machine):
    with machine.flags("main", "tensorflow_intra_op_paralelism=1"):
        yield


@injection("rest.threads")
def one_rest_thread(machine):
    with machine.flags("main", "rest_api_num_threads=1"):
        await_that(lambda: machine.listens(machine.servers["main"].grpc_port), "gRPC is open")
        yield


@injection("rest.port_closed")
def rest_port_closed(machine):
    server = machine.servers["main"]
    machine.run(f"systemctl stop {server.unit}")
    try:
        with machine.beside(f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={server.port})"):
            await_that(lambda: machine.listens(server.port), "somebody else has the port")
            machine.run(f"systemctl start {server.unit}")
            await_that(lambda: machine.listens(server.grpc_port), "gRPC is open")
            yield
    finally:
        machine.restart("main")
        machine.heals()


@injection("batching.timeout_long")
def timeout_long(machine):
    with (
        # So long that a busy machine's own delays are a small part of it.
        machine.batching(max_batch_size=64, batch_timeout_micros=300_000, num_batch_threads=2),
        calls(machine, "batched", callers=1),
    ):
        yield


@injection("batching.never_fill")
def never_fill(machine):
    with (
        machine.batching(max_batch_size=64, batch_timeout_micros=100_000, num_batch_threads=2),
        machine.flags("batched", "grpc_max_threads=4", "rest_api_num_threads=4"),
    ):
        machine.heals()
        with calls(machine, "batched", callers=12):
            yield


@injection("batching.queue_full")
def queue_full(machine):
    with (
        # Not smaller: the warm-up record of the model has as many rows.
        machine.batching(max_batch_size=32, batch_timeout_micros=0, num_batch_threads=1, max_enqueued_batches=1),
        calls(machine, "batched", rows=32, callers=16),
    ):
        yield


@injection("batching.padding")
def padding(machine):
    with (
        machine.batching(max_batch_size=1024, batch_timeout_micros=0, num_batch_threads=2, allowed_batch_sizes=[1024]),
        calls(machine, "batched", callers=2),
    ):
        yield


@injection("batching.sizes")
def sizes(machine):
    with machine.batching(False, max_batch_size=32, num_batch_threads=2, allowed_batch_sizes=[8]):
        yield


@injection("batching.file_missing")
def file_missing(machine):
    with machine.flags("batched", "enable_per_model_batching_parameters=true"):
        machine.heals()
        with calls(machine, "batched", callers=1):
            yield
