# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server that is all targets of a Prometheus: each has an address of its own on loopback, and shares its pages."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

from support.scraped_pages import Page

Target = tuple[str, int, str]  # address, port, path


class Replay:
    """Answers the Nth scrape of every target with the Nth text of its page."""

    def __init__(self, targets: Mapping[Target, Page]) -> None:
        self.targets = targets
        self.scrapes: Counter[Target] = Counter()
        # Targets are asked one after another, so a text is needed for the length of an interval, or a little more.
        self._text = lru_cache(maxsize=64)(self._rendered)

    @staticmethod
    def _rendered(page: Page, number: int) -> bytes:
        text = page.text(number).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(text)}\r\n\r\n"
        return head.encode() + text

    def least(self) -> int:
        """Return how often the target was scraped that was scraped least."""
        return min(self.scrapes[each] for each in self.targets)

    def answer(self, target: Target) -> bytes:
        """Return the answer to a call. What is no page takes alerts, as an Alertmanager does."""
        page = self.targets.get(target)
        if page is None:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self.scrapes[target] += 1
        return self._text(page, self.scrapes[target])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the calls of one connection."""
        address, port = writer.get_extra_info("sockname")[:2]
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await reader.readexactly(_length(head))
                writer.write(self.answer((address, port, head.split(" ", 2)[1])))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _length(head: str) -> int:
    found = [line.split(":", 1)[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
    return int(found[0]) if found else 0


@contextmanager
def replayed(targets: Mapping[Target, Page]) -> Iterator[Replay]:
    """Run the server of the targets."""
    replay = Replay(targets)
    loop = asyncio.new_event_loop()
    listening = [
        loop.run_until_complete(asyncio.start_server(replay.serve, address, port))
        for address, port in sorted({each[:2] for each in targets})
    ]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield replay
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for server in listening:
            server.close()
