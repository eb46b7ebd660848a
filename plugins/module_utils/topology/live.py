# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run reads of a host before it is planned: the hardware, apt's sources, accounts and the service manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from ..driver import files as driver_files
from ..host import account_entries, apt_sources
from ..host.service_manager import service_manager
from ..host.sysfs import Tree
from ..nvidia import owned
from ..nvidia import smi as nvidia_smi
from . import nvidia
from . import read as topology

ARGUMENTS: dict[str, dict[str, Any]] = {
    "sysroot": {"type": "path", "default": "/"},
    "gpu_pci_vendors": {"type": "list", "elements": "str", "default": [owned.VENDOR]},
    "gpu_ignore": {"type": "list", "elements": "raw", "default": []},
    "timeout": {"type": "int", "default": 10},
    "group": {"type": "str", "default": "tfserving"},
    "instances": {"type": "list", "elements": "str", "default": []},
}


def read(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return it, as the module host_topology does. Raises WishError, and LookupError where there is no machine."""
    tree = Tree(wanted["sysroot"])
    ignored = owned.checked(wanted["gpu_ignore"])
    found = topology.read(tree, wanted["gpu_pci_vendors"], ignored)
    entries: dict[str, Any] = {"group": None, "accounts": []}
    if tree.live:
        if found["gpus"]:
            found["driver_libraries"] = driver_files.libraries(driver_files.loader_cache(), found["architecture"])
        left_out = {gpu["pci_address"] for gpu in found["gpus_left_out"]}
        nvidia.enrich(found, partial(nvidia_smi.run, timeout=wanted["timeout"]), left_out)
        entries = _accounts(wanted["group"], wanted["instances"])
    return {
        "topology": found,
        "apt_sources": apt_sources.read(wanted["sysroot"]),
        "accounts": entries,
        "service_manager": service_manager(tree),
    }


def _accounts(group: str, instances: list[str]) -> dict[str, Any]:
    found = account_entries.group_of(group)
    known = account_entries.accounts_of(found, instances)
    return {"group": asdict(found) if found else None, "accounts": [asdict(each) for each in known]}
