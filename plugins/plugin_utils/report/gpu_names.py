# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Short names of GPUs, since UUIDs differ on each host and mean nothing to readers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Gpu, Topology


def short_names(topology: Topology) -> dict[str, str]:
    """Return the short name of each UUID on a host: ``4`` for a GPU, ``4:1`` for a MIG slice of it."""
    return {uuid: name for gpu in topology.get("gpus") or () for uuid, name in _devices(gpu) if uuid}


def _devices(gpu: Gpu) -> Iterator[tuple[str | None, str]]:
    name = str(gpu["pci_address"] if gpu.get("index") is None else gpu["index"])
    yield gpu.get("uuid"), name
    mig = gpu.get("mig")
    for part in (mig.get("instances") or ()) if mig else ():
        yield part["uuid"], f"{name}:{part['index']}"


def renamed(data: Any, names: Mapping[str, str]) -> Any:
    """Return plain data with every UUID replaced by its short name, even inside strings."""
    if not names:
        return data
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    return _renamed(data, pattern, names)


def _renamed(data: Any, pattern: re.Pattern[str], names: Mapping[str, str]) -> Any:
    if isinstance(data, str):
        return pattern.sub(lambda found: names[found[0]], data)
    if isinstance(data, Mapping):
        return {key: _renamed(value, pattern, names) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_renamed(value, pattern, names) for value in data]
    return data
