# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The last lines of an instance's journal, and the lines of the kernel's log that tell of trouble."""

from __future__ import annotations

import re

from ..visible_text import told
from .command import Ask

LINES = 200
READ_LINES = 1000
KERNEL_LINES = 300
KERNEL_READ = 20_000
LONGEST = 500
# A server that polls its configuration writes these every few seconds. Some are kept: they tell of a loop.
_POLLING = re.compile(r"Adding/updating models\.|\(Re-\)adding model: ")
MOST_POLLING = 20
_TROUBLE = re.compile(
    r"Linux version|NVRM|nvidia|SXid|\btsc\b|clocksource|[Oo]ut of memory|oom[-_]|Killed process|nf_conntrack|"
    r"I/O error|EXT4-fs (error|warning)|XFS.*(error|corrupt)|mce:|Hardware Error|EDAC|AER:|thermal|throttl|"
    r"Link is (Down|Up)|link (down|becomes ready)|NETDEV WATCHDOG|tx timeout|hung_task|blocked for more than|"
    r"soft lockup|rcu_|segfault|general protection|page allocation|Possible SYN flooding|perf: interrupt took|"
    r"microcode|IOMMU|DMAR|No space left|cgroup"
)


def of_unit(ask: Ask, unit: str, invocation: str) -> list[str]:
    """Return the last lines since the unit's last start, oldest first; those of earlier starts where it has none."""
    selection = f"_SYSTEMD_INVOCATION_ID={invocation}" if invocation else f"_SYSTEMD_UNIT={unit}"
    answer = ask(["journalctl", selection, f"--lines={READ_LINES}", "--output=cat", "--no-pager", "--quiet"])
    lines = [line for line in (answer or "").splitlines() if line.strip()]
    polling = [line for line in lines if _POLLING.search(line)]
    dropped = set(map(id, polling[:-MOST_POLLING]))
    return [told(line, LONGEST) for line in lines if id(line) not in dropped][-LINES:]


def of_kernel(ask: Ask) -> list[str]:
    """Return the last lines of this boot's kernel log that tell of trouble, and with them the boot's first one."""
    answer = ask(["journalctl", "--dmesg", "--boot", f"--lines={KERNEL_READ}", "--output=cat", "--no-pager", "--quiet"])
    lines = [line for line in (answer or "").splitlines() if _TROUBLE.search(line[: 2 * LONGEST])]
    return [told(line, LONGEST) for line in lines[-KERNEL_LINES:]]
