# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A load generator for REST predictions in a closed loop: each connection sends the next request when it has an answer.

Runs on the lab host itself, sent there through standard input, so the standard library is all it may use. Prints JSON:
{"latencies": [seconds], "refused": count, "wall": seconds}. A request and its answer are handled as bytes, because the
generator shares the host's CPUs with the server that it measures.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import socket
import threading
import time

CATEGORIES = ("user_id", "item_id", "category_id", "brand_id", "shop_id", "city_id", "device_id", "hour")
DENSE_FEATURES = 16
SOCKET_TIMEOUT_S = 30
PAUSE_S = 0.1  # between two questions whether the server is up


def body(items: int, seed: int) -> bytes:
    """A request of the lab's ranker in column form, the smaller one of the two."""
    source = random.Random(seed)
    columns: dict[str, list] = {name: [source.randrange(1_000_000) for _ in range(items)] for name in CATEGORIES}
    columns["dense"] = [[source.randrange(-128, 128) / 64 for _ in range(DENSE_FEATURES)] for _ in range(items)]
    return json.dumps({"inputs": columns}).encode()


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SOCKET_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def status(self, request: bytes) -> int:
        """Send a request and return the status of its answer, which has been read to its end."""
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, rest = received.partition(b"\r\n\r\n")
        missing = _length(head) - len(rest)
        while missing > 0:
            missing -= len(self._more())
        return int(head.split(b" ", 2)[1])

    def _more(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed the connection in the middle of an answer")
        return part


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ConnectionError("the server's answer has no length")


class Worker(threading.Thread):
    """One connection's share of the load, ended by a count or by the clock, whichever comes first."""

    def __init__(self, options: argparse.Namespace, seed: int, deadline: float) -> None:
        super().__init__(daemon=True)
        content = body(options.items, seed)
        head = (
            f"POST /v1/models/{options.model}:predict HTTP/1.1\r\nHost: lab\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._request = head.encode() + content
        self._connection = Connection(options.port)
        self._count, self._deadline = options.count, deadline
        self.latencies: list[float] = []
        self.refused = 0

    def run(self) -> None:
        clock = time.perf_counter
        while len(self.latencies) + self.refused < self._count and (sent := clock()) < self._deadline:
            if self._connection.status(self._request) == 200:
                self.latencies.append(clock() - sent)
            else:
                self.refused += 1


def wait(port: int, model: str, seconds: float) -> None:
    """Return when the model can be queried; raises TimeoutError after so many seconds."""
    request = f"GET /v1/models/{model} HTTP/1.1\r\nHost: lab\r\n\r\n".encode()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Connection(port).status(request) == 200:
                return
        except OSError:
            pass
        time.sleep(PAUSE_S)
    raise TimeoutError(f"no server with the model {model} on port {port} after {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="at most so many requests on each connection")
    parser.add_argument("--seconds", type=float, default=5.0, help="for at most so long")
    parser.add_argument("--wait", action="store_true", help="only wait for the server, at most --seconds long")
    options = parser.parse_args()
    if options.wait:
        wait(options.port, options.model, options.seconds)
        return
    started = time.perf_counter()
    workers = [Worker(options, seed, started + options.seconds) for seed in range(options.connections)]
    gc.disable()  # a collection in the middle would be counted as the server's
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wall = time.perf_counter() - started
    latencies = [latency for worker in workers for latency in worker.latencies]
    print(json.dumps({"latencies": latencies, "refused": sum(worker.refused for worker in workers), "wall": wall}))


if __name__ == "__main__":
    main()
