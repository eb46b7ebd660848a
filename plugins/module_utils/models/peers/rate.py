# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How fast a holder may send: a share of its network interface, so that the servers' own traffic has the rest."""

from __future__ import annotations

from ...disk import plain_files
from ...host.run import Run
from ...host.sysfs import Tree

# Where nobody can tell, as for an interface of a virtual machine: 1 Gbit/s, in Mbit/s.
ASSUMED_MBIT = 1000


def of_share(run: Run, tree: Tree, address: str, share: float) -> tuple[float, str]:
    """Return bytes a second for a ``share`` (0..1) of the interface that has an address, and a note or nothing."""
    name = interface(run, address)
    # The kernel says -1 of a link that is down or has no speed.
    mbit = max(0, tree.number(f"sys/class/net/{name}/speed") or 0) if name else 0
    note = "" if mbit else f"nothing tells how fast {name or address} is, so it counts as 1 Gbit/s"
    return (mbit or ASSUMED_MBIT) * 1e6 / 8 * share, note


def interface(run: Run, address: str) -> str:
    """Return the name of the interface that has an address; empty if none has."""
    status, output, _errors = run(["ip", "-j", "address", "show", "to", address])
    try:
        found = plain_files.parsed(output.encode()) if status == 0 else []
    except ValueError:
        return ""
    # Interfaces without the address are listed as empty mappings.
    names = [entry["ifname"] for entry in found if plain_files.fits(entry, {"ifname": str})] if found else []
    return next((name for name in names if "/" not in name and name not in ("", ".", "..")), "")
