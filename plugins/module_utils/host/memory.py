# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server takes of the host's memory, and what is left of that."""

from __future__ import annotations

import os
import re

# Names of /proc/meminfo are short, and there are some fifty.
MOST_BYTES = 1 << 16
_AVAILABLE = re.compile(r"^MemAvailable:\s+([0-9]{1,15}) kB$", re.MULTILINE)


def read(proc: str, pid: int) -> dict[str, float | None]:
    """Return the resident memory of a process and what the host has left, in MiB; None where the kernel does not tell.

    :param proc: the path of /proc.
    """
    pages = _text(f"{proc}/{pid}/statm").split()[1:2] if pid else []
    available = _AVAILABLE.search(_text(f"{proc}/meminfo"))
    return {
        "rss_mb": int(pages[0]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20) if pages and pages[0].isdecimal() else None,
        "available_mb": int(available.group(1)) / 1024 if available else None,
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return ""
