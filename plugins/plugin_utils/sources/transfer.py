# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fetch one listed file, going on where a transfer broke off."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Sequence
from typing import IO

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.web import fetching

from .found import File, denied

# In a row without a byte, and of a file altogether: a server that breaks off more often is not going to be done.
MOST_FRUITLESS = 3
MOST_TRIES = 50
PAUSE_S = 1.0
# What all files may take beside the time of their bytes: a pace is asked of a request after a minute only, and a server
# that needs as long for each of a thousand small files would hold up a run for days.
SPARE_S = 300.0
FILE_S = 5.0

PRECONDITION_FAILED = 412
PARTIAL = 206
OK = 200


class _Taken:
    """The bytes that have arrived of one file."""

    def __init__(self, out: IO[bytes], etag: str) -> None:
        self.out = out
        self.etag = etag
        self.restart()

    def restart(self) -> None:
        self.out.seek(0)
        self.out.truncate()
        self.size = 0
        self.digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        self.out.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)


def time_for(files: Sequence[File]) -> float:
    """Return the seconds that fetching all of these may take."""
    return SPARE_S + FILE_S * len(files) + sum(file.size for file in files) / fetching.LEAST_BYTES_S


def fetch(file: File, target: str, timeout: float, end: float = math.inf) -> str:
    """Bring a file to the new path ``target``; return the SHA-256 of its bytes.

    No request begins after ``end``, on the monotonic clock. Raise RefusalError for a file that is not the listed one or
    does not arrive, OSError for trouble with the disk.
    """
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as out:
        taken = _Taken(out, file.etag)
        # Also what is listed as empty: a registry that does not know a size leaves it out, as it does with zero.
        _fetch(file, taken, timeout, end)
    return taken.digest.hexdigest()


def _fetch(file: File, taken: _Taken, timeout: float, end: float) -> None:
    fruitless = tried = 0
    while True:
        if time.monotonic() > end:
            least = f"{fetching.LEAST_BYTES_S // 1024} KiB a second and {FILE_S:g} s for each file"
            problem = f"its files come too slowly, at less than {least}"
            raise RefusalError(problem, "check that server, or name one nearer", "source.uri")
        before = taken.size
        try:
            _go_on(file, taken, timeout)
            return
        except fetching.BrokenOffError:
            fruitless, tried = (0 if taken.size > before else fruitless + 1), tried + 1
            if fruitless == MOST_FRUITLESS or tried == MOST_TRIES:
                raise
        time.sleep(PAUSE_S)


def _go_on(file: File, taken: _Taken, timeout: float) -> None:
    """Ask for what is missing, and take it until its end."""
    url, headers = file.request()
    conditions = {"If-Match": file.etag} if file.etag else {}
    if taken.size:
        conditions["Range"] = f"bytes={taken.size}-"
        if taken.etag and not file.etag:
            conditions["If-Range"] = taken.etag
    try:
        with fetching.answered(url, timeout=timeout, headers={**headers, **conditions}, most_redirects=0) as answer:
            _begin(answer, file, taken)
            for chunk in answer:
                if taken.size + len(chunk) > file.size:
                    problem = f"{answer.place} sends more than the {file.size} bytes that are listed"
                    raise RefusalError(problem, "run again, or check what replaces it there", "source.uri")
                taken.add(chunk)
    except fetching.StatusError as refusal:
        if refusal.status != PRECONDITION_FAILED:
            raise denied(refusal) from refusal
        problem = f"{file.path} has changed since it was listed"
        raise RefusalError(problem, "run again when nobody writes there", "source.uri") from refusal
    if taken.size != file.size:
        problem = f"{answer.place} sends {taken.size} bytes and lists {file.size}"
        raise RefusalError(problem, "run again, or check what replaces it there", "source.uri")


def _begin(answer: fetching.Answer, file: File, taken: _Taken) -> None:
    """Go on with the missing part, or from the start where the server sends the whole."""
    if answer.status == PARTIAL and taken.size:
        part = f"bytes {taken.size}-{file.size - 1}/{file.size}"
        if answer.header("Content-Range") != part:
            problem = f"{answer.place} sends another part than the one asked for"
            raise RefusalError(problem, "check that server, or a proxy before it", "source.uri")
    elif answer.status == OK:
        taken.restart()
        taken.etag = _strong(answer.header("ETag"))
    else:
        problem = f"{answer.place} answers {answer.status} instead of a file"
        raise RefusalError(problem, "check that server, or a proxy before it", "source.uri")


def _strong(etag: str) -> str:
    """Return a validator that tells every change (RFC 9110, 8.8.1), else nothing."""
    return etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,200}"', etag) else ""
