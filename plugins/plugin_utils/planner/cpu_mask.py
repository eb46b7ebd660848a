# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sets of CPUs or nodes as the bits of one integer, fast enough to plan ten thousand hosts in seconds."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list


def of(numbers: Iterable[int]) -> int:
    """Return the set of ``numbers``."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def union(masks: Iterable[int]) -> int:
    """Return the union of ``masks``."""
    result = 0
    for mask in masks:
        result |= mask
    return result


def count(mask: int) -> int:
    """Return the size of the set."""
    return bin(mask).count("1")


def first(mask: int) -> int:
    """Return the lowest number in a set that is not empty."""
    return (mask & -mask).bit_length() - 1


def named(noun: str, mask: int) -> str:
    """Return the set as it stands in a sentence: ``node 0``, ``nodes 0-2``."""
    return f"{noun}{'s' if count(mask) > 1 else ''} {listed(mask)}"


def numbers(mask: int) -> list[int]:
    """Return the numbers in the set, ascending."""
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def listed(mask: int) -> str:
    """Return the set in the kernel's list format ("0-3,8")."""
    return cpu_list.of_mask(mask)
