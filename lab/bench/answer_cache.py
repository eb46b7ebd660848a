# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the gateway's cache of answers costs and saves, and what callers see when versions move and when it dies.

HAProxy and Varnish of Debian 12 or 13 with the role's files, in front of two stand-ins for servers that take 20 ms, all
as processes of this machine. Callers wait for each answer before they call again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support import figures, local_load, local_server

CALLERS = 8
AT_ONCE = 200
DELAY_S = 0.02  # of a server: far more than the cache takes, so that what passes it shows
HOT, MANY = 1, 3000  # bodies: one for the cost of a hit, more than a run can ask twice for what goes on without it
CALL_S = 60.0
WISH = {"ttl_s": 600, "shadow": False}
MOST_HIT_US, MOST_ADDED_MS = 30.0, 10.0


class Seen(NamedTuple):
    """One call: when it began and how long it took in seconds, status, where from, and the answer's version."""

    began: float
    took: float
    status: int
    source: str
    version: int


class Caller:
    """One connection, opened again where the gateway has closed it between calls."""

    def __init__(self, port: int) -> None:
        self._port, self._socket = port, socket.create_connection(("127.0.0.1", port), CALL_S)

    def call(self, body: bytes, more: str = "") -> Seen:
        began = time.monotonic()
        head = f"POST /v1/models/ranker:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        try:
            self._socket.sendall(head.encode() + body)
            status, source, answer = self._answer()
        except OSError:
            self._socket = socket.create_connection(("127.0.0.1", self._port), CALL_S)
            return Seen(began, time.monotonic() - began, 0, "", 0)
        version = json.loads(answer).get("version", 0)
        return Seen(began, time.monotonic() - began, status, source, version)

    def _answer(self) -> tuple[int, str, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += self._more()
        return int(head.split(b" ")[1]), fields.get(b"x-cache", b"passed").decode(), body

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 16)
        if not part:
            raise ConnectionError("closed in the middle of an answer")
        return part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute, to see that it runs")
    parser.add_argument("--debian", choices=("12", "13"), default="12", help="whose HAProxy and Varnish")
    given = parser.parse_args()
    seconds = 2.0 if given.quick else 8.0
    local_load.importable()
    import cache_hosts
    import haproxies
    import varnishes

    versions = {
        "12": (haproxies.BOOKWORM, varnishes.BOOKWORM),
        "13": (haproxies.TRIXIE, varnishes.TRIXIE),
    }[given.debian]
    print(figures.machine(), flush=True)
    print(figures.takes("half a minute" if given.quick else "2 minutes"), flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch,
        cache_hosts.running(Path(scratch), 2, WISH, *versions, patience=()) as site,
    ):
        print(f"HAProxy {versions[0]}, Varnish {versions[1]}\n", flush=True)
        print(cost(site, seconds), flush=True)
        for host in site.hosts.values():
            host.delay_s = DELAY_S
        print(at_once(site), flush=True)
        print(moved(site, seconds), flush=True)
        print(deaths(site, seconds))
    return 0


def cost(site: Any, seconds: float) -> str:
    """CPU of a hit, of a call that passes the cache, and of the checks alone."""
    pids = {"HAProxy": site.processes["haproxy"].pid, "Varnish": site.pids()[0]}

    def used() -> dict[str, float]:
        return {name: local_server.cpu_seconds(pid) for name, pid in pids.items()}

    before = used()
    time.sleep(seconds)
    idle = {name: (value - before[name]) / seconds for name, value in used().items()}
    rows = []
    for title, more in (("hit", ""), ("passed", "Cache-Control: no-cache\r\n")):
        before, began = used(), time.monotonic()
        seen = load(site, seconds, HOT, more=more)
        took = time.monotonic() - began
        micros = {name: (value - before[name] - idle[name] * took) / len(seen) * 1e6 for name, value in used().items()}
        p50 = figures.quantile([each.took for each in seen], 0.5) * 1e6
        rows.append([title, len(seen), f"{p50:.0f}", f"{micros['HAProxy']:.0f}", f"{micros['Varnish']:.0f}"])
    shown = figures.table(
        f"One body, {CALLERS} callers, servers that answer at once",
        ["", "calls", "p50 us", "HAProxy us", "Varnish us"],
        rows,
    )
    checks = sum(idle.values())
    judged = figures.verdict(float(rows[0][-1]), at_most=MOST_HIT_US)
    return f"{shown}\nVarnish's CPU us of a hit, {judged}. Its checks take {checks:.1%} of a core.\n"


def at_once(site: Any) -> str:
    """How many calls of a server equal calls make that come together."""

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"POST /v1/models/ranker:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nat once")
        found = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return found.split(b" ")[1]

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    for host in site.hosts.values():
        host.delay_s = 0.5
    before = len(site.calls)
    statuses = asyncio.run(all_of_them())
    for host in site.hosts.values():
        host.delay_s = DELAY_S
    made, well = len(site.calls) - before, sum(status == b"200" for status in statuses)
    return f"{AT_ONCE} equal calls at once: {made} of a server, {well} answered ({figures.verdict(made, at_most=1)})\n"


def moved(site: Any, seconds: float) -> str:
    """Answers of the old version after all servers have moved to another, and what is kept under the new one."""
    hosts = list(site.hosts.values())

    def move() -> None:
        for host in hosts:
            host.versions = (8,)

    seen, mark = disturbed(site, seconds, 300, move)
    late = [each.began - mark for each in seen if each.version == 7 and each.began > mark]
    failed = sum(each.status != 200 for each in seen)
    caller = Caller(site.port)
    kept = [caller.call(b"body %d" % number) for number in range(300)]
    wrong = sum(each.version != 8 for each in kept)
    for host in hosts:
        host.versions = (7,)
    site.settled()
    return (
        f"all servers move from version 7 to 8 under load: {len(seen)} calls, {failed} failed; the last answer of"
        f" 7 {max(late, default=0.0) * 1000:.0f} ms after the move; of 300 bodies asked then,"
        f" {wrong} got an answer of 7\n"
    )


def deaths(site: Any, seconds: float) -> str:
    """What callers see when the cache hangs, its worker is killed, and all of it is."""

    def hang() -> None:
        signalled(site, signal.SIGSTOP)
        time.sleep(1)
        signalled(site, signal.SIGCONT)

    cases: dict[str, Callable[[], None]] = {
        "hangs for a second": hang,
        "its worker is killed": lambda: os.kill(site.pids()[0], signal.SIGKILL),
        "killed": lambda: signalled(site, signal.SIGKILL),
    }
    rows = []
    for title, action in cases.items():
        seen, mark = disturbed(site, seconds, MANY, action)
        before = [each.took for each in seen if each.began < mark - 0.1]
        after = [each.took for each in seen if mark - DELAY_S < each.began < mark + 0.9]
        stuck = [each for each in seen if mark - 0.1 < each.began < mark + 0.9 and each.took > 0.5]
        p99s = [figures.quantile(some, 0.99) * 1000 for some in (before, [took for took in after if took <= 0.5])]
        failed = sum(each.status != 200 for each in seen)
        until = max((each.began - mark for each in stuck), default=0.0) * 1000
        rows.append([title, len(seen), failed, *(f"{p99:.0f}" for p99 in p99s), len(stuck), f"{until:.0f}"])
        if title != "killed":
            site.settled()
    header = ["the cache", "calls", "failed", "p99 ms before", "after", "held", "last held began, ms after"]
    return figures.table(f"{CALLERS} callers, most calls new, servers that take {DELAY_S * 1000:.0f} ms", header, rows)


def signalled(site: Any, number: int) -> None:
    for pid in reversed(site.pids()):
        os.kill(pid, number)


def load(site: Any, seconds: float, bodies: int, more: str = "") -> list[Seen]:
    with calling(site, seconds, bodies, more) as seen:
        pass
    return seen


def disturbed(site: Any, seconds: float, bodies: int, action: Callable[[], None]) -> tuple[list[Seen], float]:
    """Call all the time, do something halfway, and return the calls and when that was."""
    with calling(site, seconds, bodies) as seen:
        time.sleep(seconds / 2)
        mark = time.monotonic()
        action()
    return seen, mark


@contextmanager
def calling(site: Any, seconds: float, bodies: int, more: str = "") -> Iterator[list[Seen]]:
    seen: list[Seen] = []
    until = time.monotonic() + seconds

    def run(seed: int) -> None:
        caller, chance = Caller(site.port), random.Random(seed)
        while time.monotonic() < until:
            seen.append(caller.call(b"body %d" % chance.randrange(bodies), more))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    sys.exit(main())
