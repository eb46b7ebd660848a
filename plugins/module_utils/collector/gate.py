# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of the instances, as their companion tells them."""

from __future__ import annotations

from typing import Any

from ..disk import plain_files
from .host import Host
from .sample import Samples, sample
from .served import page


def read(host: Host) -> Samples:
    """Yield the samples."""
    told = page(host)
    for instance in host.instances:
        known = told.get(instance["name"])
        if known is not None:
            yield sample("gate_open", known["open"], serving_instance=instance["name"])
            if not known["open"]:
                yield sample("gate_info", 1, serving_instance=instance["name"], kind=_kind(known))


def _kind(known: dict[str, Any]) -> str:
    """Return who holds a gate (person, run, rollout), or else what does (stopped, leaving, starting, unwell)."""
    record = known["record"]
    return str(record["kind"] if plain_files.fits(record, {"kind": str}) else known["state"])
