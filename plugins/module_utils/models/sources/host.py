# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directories and archives on the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...disk.digests import file_digest
from ...errors import RefusalError, WishError
from . import paths
from .row import Bench, Obtained, Source


def _meant(source: Mapping[str, Any]) -> bool:
    return bool(source.get("remote"))


def _check(path: str, source: Mapping[str, Any]) -> None:
    paths.check(path, source)
    if not source["uri"].startswith("/"):
        raise WishError(f"{path}.uri", "is not an absolute path", "a path on the host begins with /")


def _obtain(bench: Bench) -> Obtained:
    path = _present(bench.request.uri)
    return Obtained(path, bench.request.sha256, None if os.path.isdir(path) else file_digest(path), ours=False)


def _inspect(bench: Bench) -> None:
    bench.examine(_present(bench.request.uri))


def _has_other_content(bench: Bench) -> bool:
    return bench.differs(bench.request.uri)


def _present(path: str) -> str:
    if not os.path.exists(path):
        raise RefusalError(f"{path} is not on this host", "put it there, or leave out remote to send it", "source.uri")
    return path


HOST = Source(
    type=paths.TYPE,
    meant=_meant,
    keys=paths.KEYS,
    check=_check,
    obtain=_obtain,
    inspect=_inspect,
    has_other_content=_has_other_content,
)
