# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of what the probe has passed with, so that a run that changes nothing makes no calls."""

from __future__ import annotations

import re
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


def verdict(found: dict[str, Any]) -> str:
    """Return the sentence of a probe that lost calls, with what may help by what is known of the defect."""
    has_remedy = re.match(r"2\.[0-6]\.", found["version"])
    remedy = (
        "set gateway_grpc_mode to serial_streams, or to tcp"
        if has_remedy
        else "set gateway_grpc_mode to tcp, or update"
    )
    return (
        f"HAProxy {found['version']} lost {found['lost']} of {found['calls']} gRPC calls between {probe.PARALLEL} at a "
        f"time with replies around the size of its buffer (first: {found['words']}); {remedy}"
    )
