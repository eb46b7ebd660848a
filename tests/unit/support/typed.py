# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares plain data with types, which Python itself never does at run time."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict


def misfits(value: Any, wanted: Any, path: str = "") -> list[str]:
    """Return where a value departs from a type made of TypedDicts, lists, dicts, unions and plain classes."""
    return list(_misfits(value, wanted, path))


def options(wanted: Any) -> tuple[Any, ...]:
    """Return the types that a type allows: several for a union."""
    return get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)


def _misfits(value: Any, wanted: Any, path: str) -> Iterator[str]:
    if len(options(wanted)) > 1:
        if all(misfits(value, each) for each in options(wanted)):
            yield f"{path}: {value!r} is none of {wanted}"
    elif is_typeddict(wanted):
        yield from _misfits_of_keys(value, wanted, path)
    elif get_origin(wanted) in (list, dict):
        yield from _misfits_within(value, wanted, path)
    elif not _is(value, wanted):
        yield f"{path}: {value!r} is no {wanted}"


def _misfits_of_keys(value: Any, wanted: Any, path: str) -> Iterator[str]:
    hints = get_type_hints(wanted)
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {wanted.__name__}"
        return
    yield from (f"{path}.{key}: is missing" for key in sorted(wanted.__required_keys__ - value.keys()))
    for key, each in value.items():
        if key in hints:
            yield from _misfits(each, hints[key], f"{path}.{key}")
        else:
            yield f"{path}.{key}: is in no type"


def _misfits_within(value: Any, wanted: Any, path: str) -> Iterator[str]:
    kind = get_origin(wanted)
    if not isinstance(value, kind):
        yield f"{path}: {value!r} is no {wanted}"
        return
    for key, each in value.items() if kind is dict else enumerate(value):
        if kind is dict:
            yield from _misfits(key, get_args(wanted)[0], f"{path} (key)")
        yield from _misfits(each, get_args(wanted)[-1], f"{path}.{key}")


def _is(value: Any, wanted: Any) -> bool:
    if wanted is Any:
        return True
    if isinstance(value, bool) and wanted is not bool:
        return False
    return isinstance(value, (int, float) if wanted is float else wanted)
