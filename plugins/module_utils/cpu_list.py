# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""CPU and node lists in the kernel's own notation ("0-3,8"), as read and written by sysfs, cgroups and systemd."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Far above any kernel (CONFIG_NR_CPUS is at most 8192 on the platforms of today); it keeps a mistyped
# "0-9999999999" from filling the memory.
HIGHEST = 65535

# "8", "0-3", and the strided ranges of the kernel: "0-31:2/8" is the first 2 of every 8. `taskset` and `numactl`
# write "0-31:8" for the first one of every 8.
# https://docs.kernel.org/admin-guide/kernel-parameters.html#cpu-lists
_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+)(?:/(\d+))?)?)?", re.ASCII)


def parse(text: str) -> list[int]:
    """The numbers in a kernel list, ascending and each once; the empty text is the empty list.

    Accepts what the kernel accepts: any order, repeats, empty parts, blanks around a part, strided ranges.
    Raises ValueError with one sentence naming the part that is wrong.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        if part.strip():
            numbers.update(_expand(part.strip()))
    return sorted(numbers)


def format(numbers: Iterable[int]) -> str:
    """The numbers as a kernel list: ascending, without blanks, runs of two or more joined ("0-1,8")."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in _runs(numbers))


def _expand(part: str) -> list[int]:
    match = _PART.fullmatch(part)
    if not match:
        raise ValueError(f"{part!r} is not a number or a range of a CPU list such as 0-3,8")
    first, last, used, group = (None if number is None else int(number) for number in match.groups())
    if last is None:
        last = first
    if last > HIGHEST:
        raise ValueError(f"{part!r} goes beyond {HIGHEST}, the highest number a CPU list may hold")
    if last < first:
        raise ValueError(f"{part!r} runs backwards")
    if used is None:
        return list(range(first, last + 1))
    if group is None:
        used, group = 1, used
    if not 0 < used <= group:
        raise ValueError(f"{part!r} must take at least one and at most all numbers of each group")
    return [number for number in range(first, last + 1) if (number - first) % group < used]


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
