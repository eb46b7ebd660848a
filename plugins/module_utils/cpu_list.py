# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""CPU and node lists in the kernel's own notation ("0-3,8"), as read and written by sysfs, cgroups and systemd."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# Far above the limit of any kernel (CONFIG_NR_CPUS is at most 8192 on today's platforms); keeps a mistyped
# "0-9999999999" from exhausting memory.
HIGHEST = 65535

# "8", "0-3", and the strided ranges of the kernel: "0-31:2/8" is the first 2 of every 8. `taskset` and `numactl`
# write "0-31:8" for the first one of every 8.
# https://docs.kernel.org/admin-guide/kernel-parameters.html#cpu-lists
_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+)(?:/(\d+))?)?)?", re.ASCII)


def parse(text: str) -> list[int]:
    """Return the numbers in a kernel list, ascending and without repeats; an empty text gives an empty list.

    Accepts what the kernel accepts: any order, repeats, empty parts, blanks around a part, strided ranges. Raises
    ValueError with one sentence naming the faulty part.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        if part.strip():
            numbers.update(_expand(part.strip()))
    return sorted(numbers)


def format(numbers: Iterable[int]) -> str:
    """Return the numbers as a kernel list: ascending, without blanks, runs of two or more joined ("0-1,8")."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return of_mask(mask)


# A fleet has few host shapes, hence few sets of CPUs.
@lru_cache(maxsize=4096)
def of_mask(mask: int) -> str:
    """Return the numbers of the set bits as a kernel list."""
    parts = []
    start = 0
    while mask:
        gap = _zeros(mask)
        mask >>= gap
        run = _zeros(~mask)
        mask >>= run
        start += gap
        parts.append(str(start) if run == 1 else f"{start}-{start + run - 1}")
        start += run
    return ",".join(parts)


def _zeros(mask: int) -> int:
    """Return the number of zeros below the lowest set bit."""
    return (mask & -mask).bit_length() - 1


def _expand(part: str) -> list[int]:
    match = _PART.fullmatch(part)
    if not match:
        raise ValueError(f"{part!r} is not a number or a range of a CPU list such as 0-3,8")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if last > HIGHEST:
        raise ValueError(f"{part!r} goes beyond {HIGHEST}, the highest number a CPU list may hold")
    if last < first:
        raise ValueError(f"{part!r} runs backwards")
    if match[3] is None:
        return list(range(first, last + 1))
    used, group = (1, int(match[3])) if match[4] is None else (int(match[3]), int(match[4]))
    if not 0 < used <= group:
        raise ValueError(f"{part!r} must take at least one and at most all numbers of each group")
    return [number for number in range(first, last + 1) if (number - first) % group < used]
