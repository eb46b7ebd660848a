# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors of the GPUs in the kernel's journal, counted since boot by device, code and NVIDIA's action.

DCGM's gauge holds the last code for ever, and hides that one repeats. The journal is read on from where the run before
had ended (``cursor``), so that a run reads a few lines. Where that place is not known, as in the first run, the last
lines of this boot are read, and count where they have more of a kind than was counted before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from ..nvidia import xid_lines
from .host import Host, PartError
from .sample import Samples, sample

# What a kernel writes in months; of a driver that fills the log a run reads a piece, and the next run the next one.
# With a cursor these are the first lines behind it, without one the last of the boot (systemd 252).
MOST_LINES = 15_000
COMMAND = [
    *("journalctl", "--dmesg", "--no-pager", "--quiet", "--output=cat", "--show-cursor"),
    f"--lines={MOST_LINES}",
]
# The kernel's own lines have at most 1 KiB.
MOST_BYTES = MOST_LINES << 10
SECONDS = 3.0
MOST_KINDS = 200
# The action of an Xid in a form that nobody knows.
UNREAD = "unknown"

_CURSOR = re.compile(r"-- cursor: ([A-Za-z0-9=;._-]{1,400})")


def _are_counts(value: Any) -> bool:
    return plain_files.fits(value, {str: int}) and all(key.count("|") == 2 for key in value)


_KEPT = {"cursor": str, "counts": _are_counts}


def applies(host: Host) -> bool:
    """Return whether NVIDIA's driver is loaded: without it nothing writes such lines."""
    return host.tree.exists("proc/driver/nvidia/version") or host.tree.exists("sys/module/nvidia")


def read(host: Host) -> Samples:
    """Yield the samples."""
    kept = host.state.section("xids", _KEPT) or {"cursor": "", "counts": {}}
    begin = [f"--after-cursor={kept['cursor']}"] if kept["cursor"] else ["--boot"]
    # Whatever goes wrong, the next run must not meet it again: the journal may have lost the place, or be slow there.
    host.state.keep("xids", {"cursor": "", "counts": kept["counts"]})
    status, out = host.run([*COMMAND, *begin], seconds=SECONDS, most=MOST_BYTES)
    if status != 0:
        raise PartError("journalctl does not tell the lines of the kernel")
    lines = out.splitlines()
    cursors = [found[1] for line in lines[-1:] if (found := _CURSOR.fullmatch(line))]
    events = xid_lines.events(lines[: len(lines) - len(cursors)])
    counts = added(kept["counts"], events) if kept["cursor"] else _merged(kept["counts"], added({}, events))
    host.state.keep("xids", {"cursor": (cursors or [kept["cursor"]])[0], "counts": counts})
    for key, count in counts.items():
        pci, code, action = key.split("|")
        yield sample("xid_total", count, pci=pci, code=code, action=action)


def _merged(counts: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of lines of which some were counted before: the larger of the two of each kind."""
    found = {**seen, **{key: max(count, seen.get(key, 0)) for key, count in counts.items()}}
    return dict([*found.items()][:MOST_KINDS])


def added(counts: Mapping[str, int], events: list[xid_lines.Event]) -> dict[str, int]:
    """Return the counts, by ``PCI|CODE|ACTION``, with further events. An error of an NVSwitch has the code sxid-N."""
    found = dict(counts)
    for event in events:
        code = f"sxid-{event.code}" if event.kind == "sxid" else str(event.code)
        key = f"{event.address}|{code}|{event.action or UNREAD}"
        if key in found or len(found) < MOST_KINDS:
            found[key] = found.get(key, 0) + event.count
    return found
