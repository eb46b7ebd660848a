# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of what the probe has passed with, so that a run that changes nothing makes no calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..disk.record import Record
from ..errors import WishError
from . import probe

PATH = "/var/lib/tfserving-fleet/gateway/probe.json"
_SHAPE = {"schema": int, "version": str, "tune": [str], "calls": int}
_SCHEMA = 1


def prove(
    binary: str, tune: Sequence[str], calls: int, seconds: float, path: str = PATH, keep: bool = True
) -> dict[str, Any]:
    """Return ``{version, calls, lost, seconds, words, changed}`` of the probe; no calls if the record has it passed.

    ``changed`` says whether the record is written, which ``keep`` allows. Raises WishError, ProbeError.
    """
    probe.check_tune(tune)
    version = probe.version(binary)
    record = Record(path, _SHAPE, schema=_SCHEMA)
    passed = {"schema": _SCHEMA, "version": version, "tune": list(tune), "calls": calls}
    if record.found() == passed:
        return {"version": version, "calls": 0, "lost": 0, "seconds": 0.0, "words": "", "changed": False}
    outcome = probe.probe(binary, tune, calls, seconds)
    if not outcome.lost and keep:
        try:
            record.save(passed)
        except OSError as error:
            raise WishError(path, f"cannot be written ({error.strerror})", "make room on the host") from error
    return {**vars(outcome), "changed": not outcome.lost}


def verdict(found: dict[str, Any], tune: Sequence[str]) -> str:
    """Return the sentence of a probe that lost calls, with what is left to do."""
    # One call at a time on a connection has helped each version that was met with the defect (2.4.14, 2.6.12, 2.8.5).
    is_serial = any(line.endswith("max-concurrent-streams 1") for line in tune)
    remedy = "tcp, or update HAProxy" if is_serial else "serial_streams, or to tcp"
    return (
        f"HAProxy {found['version']} lost {found['lost']} of {found['calls']} gRPC calls between {probe.PARALLEL} at a "
        f"time with replies around the size of its buffer (first: {found['words']}); set gateway_grpc_mode to {remedy}"
    )
