# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fetches a version from a holder, file by file, and believes none of it: each must have the digest of the manifest."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO

from ...disk.archive_entries import shown
from ...disk.digests import CHUNK, SHA256
from ...disk.space import FULL, in_mib
from ...errors import RefusalError
from ..store import Store
from .holder import TOKEN
from .incoming import Incoming
from .manifest import Manifest

# The head of an answer; a holder's has some hundred bytes.
_MOST_HEAD = 8192
# So many bytes at most wait to be written by the kernel: more of them would hold up the servers of this host.
_SYNC_EVERY = 64 << 20


class HolderError(Exception):
    """A transfer that failed between the two hosts. Another holder may do."""


@dataclass(frozen=True)
class Holder:
    """Where a version is offered, and to which address of this host.

    ``silence_s`` and ``limit_s`` say how long is waited for a byte, and for all of it.
    """

    address: str
    port: int
    token: str
    reader: str = ""
    silence_s: float = 30
    limit_s: float = 3600


@dataclass
class Pulled:
    """What a call did: bytes that came from the holder, and bytes that were here from an earlier one."""

    received: int = 0
    resumed: int = 0


def pull(store: Store, model: str, version: int, manifest: Manifest, holder: Holder) -> Pulled:
    """Bring a version into its incoming directory, all of it verified and on the disk.

    Raises HolderError, and RefusalError where this host cannot take it. What has come is kept for the next call.
    """
    incoming, done = Incoming(store, model, version), Pulled()
    with store.lock():
        if incoming.is_verified(manifest):
            return done
        try:
            incoming.begin(manifest)
            _require_room(store, incoming, manifest)
            with closing(_Wire(holder)) as wire:
                for path, (digest, size) in sorted(manifest.files.items()):
                    _fetch(wire, incoming.tree, path, digest, size, done)
            incoming.finish(manifest)
        except OSError as error:
            if error.errno in FULL:
                raise store.too_full(manifest.size) from error
            at = f" at {error.filename}" if error.filename else ""
            raise RefusalError(f"{error.strerror or error}{at}", "check that host") from error
    return done


def _require_room(store: Store, incoming: Incoming, manifest: Manifest) -> None:
    there = 0
    for path, (_digest, size) in manifest.files.items():
        with suppress(OSError):
            there += min(size, os.lstat(os.path.join(incoming.tree, path)).st_size)
    store.require(manifest.size - there)


def _fetch(wire: _Wire, tree: str, path: str, digest: str, size: int, done: Pulled) -> None:
    place = os.path.join(tree, path)
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+b") as file:
        before = min(os.fstat(handle).st_size, size)
        if before and _complete(wire, file, before, digest, size, done):
            done.resumed += before
            return
        # Nothing was here, or it is of no use: an earlier holder may have sent something else.
        if _complete(wire, file, 0, digest, size, done):
            return
        file.truncate(0)
    raise HolderError(f"it sent {shown(path)} with other content than the controller has")


def _complete(wire: _Wire, file: IO[bytes], before: int, digest: str, size: int, done: Pulled) -> bool:
    """Fetch what follows the first ``before`` bytes of a file; return whether the whole has its digest then."""
    file.truncate(before)
    file.seek(0)
    hashing, left, unsynced = hashlib.sha256(), before, 0
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            return False
        hashing.update(chunk)
        left -= len(chunk)
    if before < size:
        for chunk in wire.get(digest, before, size):
            file.write(chunk)
            hashing.update(chunk)
            done.received += len(chunk)
            unsynced += len(chunk)
            if unsynced >= _SYNC_EVERY:
                _to_disk(file)
                unsynced = 0
    if hashing.hexdigest() != digest:
        return False
    _to_disk(file)
    return True


def _to_disk(file: IO[bytes]) -> None:
    """Bring a file to the disk and let go of its pages: they would take the place of those that the servers need."""
    file.flush()
    os.fdatasync(file.fileno())
    with suppress(OSError):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Wire:
    """A connection to the holder, opened when it is first needed. Every wait has an end."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.end = time.monotonic() + holder.limit_s
        self.wire: socket.socket | None = None
        self.buffer = b""

    def close(self) -> None:
        if self.wire:
            self.wire.close()
            self.wire = None

    def get(self, digest: str, start: int, size: int) -> Iterator[bytes]:
        """Yield the bytes of a file from ``start`` to its end. Raises HolderError."""
        assert SHA256.fullmatch(digest)
        span = f"Range: bytes={start}-\r\n" if start else ""
        head = f"GET /{digest} HTTP/1.1\r\nHost: peer\r\n{TOKEN}: {self.holder.token}\r\n{span}\r\n"
        try:
            if not self.wire:
                address = (self.holder.address, self.holder.port)
                # The holder hears this address alone, and a host may have others.
                own = (self.holder.reader, 0) if self.holder.reader else None
                self.wire = socket.create_connection(address, self._patience(), own)
            self.wire.settimeout(self._patience())
            self.wire.sendall(head.encode("latin-1"))
            self._hear_head(206 if start else 200, size - start)
            left = size - start
            while left:
                chunk = self._more(left)
                left -= len(chunk)
                yield chunk
        except socket.timeout as error:
            self._patience()  # which says so if the time for all of it is over
            raise HolderError(f"it sent nothing for {self.holder.silence_s:g} s") from error
        except OSError as error:
            raise HolderError(f"the transfer broke off: {error.strerror or 'no answer'}") from error

    def _patience(self) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise HolderError(f"it did not send everything within {self.holder.limit_s:g} s")
        return min(left, self.holder.silence_s)

    def _more(self, most: int) -> bytes:
        assert self.wire
        if self.buffer:
            found, self.buffer = self.buffer[:most], self.buffer[most:]
            return found
        self.wire.settimeout(self._patience())
        found = self.wire.recv(min(CHUNK, most))
        if not found:
            raise HolderError(f"it ended with {in_mib(most)} of a file to come")
        return found

    def _hear_head(self, status: int, length: int) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            if len(heard) > _MOST_HEAD:
                raise HolderError("its answer has no end")
            heard += self._more(_MOST_HEAD)
        head, _, self.buffer = heard.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        found = lines[0].split(" ")[1:2]
        if found != [str(status)]:
            raise HolderError(_REFUSED.get("".join(found), "its answer is not that of a holder"))
        fields = [line.partition(":") for line in lines[1:]]
        if [value.strip() for name, _, value in fields if name.lower() == "content-length"] != [str(length)]:
            raise HolderError("what it sends is not as long as the controller says")


_REFUSED = {
    "403": "it refused the token",
    "404": "it does not offer what the controller says",
    "410": "its files have changed since they were published",
    "416": "what it has is shorter than what is here",
}
