# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directories and archives on the controller, which sends them to hosts that lack them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...disk.digests import file_digest
from ...errors import RefusalError
from . import paths
from .row import Bench, Obtained, Source


def wish(uri: str, sha256: Mapping[str, str]) -> dict[str, Any]:
    """Return the wish for a source on the controller."""
    return {"type": paths.TYPE, "uri": uri, "sha256": dict(sha256)}


def _meant(source: Mapping[str, Any]) -> bool:
    return not source.get("remote")


def obtain(bench: Bench) -> Obtained:
    """Return the file that the controller has sent."""
    if "path" not in bench.sent:
        raise RefusalError("it is gone since the run began", "run again")
    path = bench.sent["path"]
    # A directory travels as a tar of this collection's own making; its checksum is that of its listing.
    return Obtained(path, bench.sent["sha256"], None if bench.sent["directory"] else file_digest(path))


def _has_other_content(bench: Bench) -> bool:
    return not bench.sent.get("same", False)


CONTROLLER = Source(
    type=paths.TYPE,
    meant=_meant,
    keys=paths.KEYS,
    check=paths.check,
    sent=True,
    obtain=obtain,
    has_other_content=_has_other_content,
)
