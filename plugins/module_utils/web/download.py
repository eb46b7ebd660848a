# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stream a file from a web server to disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Callable

from ..disk.space import in_mib
from ..errors import RefusalError
from . import fetching


def download(
    url: str,
    target: str,
    *,
    headers: Mapping[str, Any],
    timeout: float,
    announce: Callable[[int], None] = lambda size: None,
    room: Callable[[], int] | None = None,
) -> str:
    """Stream ``url`` (http or https) into the new file ``target``; return the SHA-256 of its bytes.

    ``announce`` is called with the declared length before the first byte is written and may raise. If no length is
    declared, every chunk has to fit into what ``room`` returns at that time. Otherwise as fetching.answered; OSError of
    the disk passes.
    """
    with fetching.answered(url, timeout=timeout, headers=headers) as answer:
        if answer.length is not None:
            announce(answer.length)
        return _store(answer, target, room if answer.length is None else None)


def _store(answer: fetching.Answer, target: str, room: Callable[[], int] | None) -> str:
    digest = hashlib.sha256()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        for chunk in answer:
            if room and len(chunk) > room():
                problem = f"{answer.place} has sent {in_mib(answer.received)}, and no more fits here"
                raise RefusalError(problem, "free space there, or check the address", "source.uri")
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()
