# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan in force: which, and since when."""

from __future__ import annotations

import os

from .files import by_content
from .host import PLAN, Host
from .sample import Samples, sample


def read(host: Host) -> Samples:
    """Yield the samples."""
    path = host.tree.path(PLAN)
    version = host.plan["server"]["version"]
    yield sample("plan_written_timestamp_seconds", os.stat(path).st_mtime)
    answers = by_content(host, "plan", [path], _digest, str)
    answers.insist()
    yield sample("plan_info", 1, digest=answers.of[path], server_version=version)


def _digest(content: bytes) -> str:
    # Only for a plan that has changed: hashlib brings the libraries of OpenSSL, a fifth of the collector's memory.
    import hashlib

    return hashlib.sha256(content).hexdigest()[:12]
