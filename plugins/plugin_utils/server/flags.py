# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Turns a dictionary of flags into the command line of ``tensorflow_model_server``, or says why it cannot work.

The server continues after a misspelt flag, after equal ports and after a dozen other mistakes, with part of the
service missing; so whatever can be seen from the flags alone is refused here, before a host is touched.

The flags come from ``tables/server_flags.yml``, their bounds from ``tables/flag_rules.yml``; rules that join
several flags are in ``server/flag_rules.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    is_shown,
    key_path,
    kind,
    nearest,
)

from ..tables import surveyed
from ..tables.read import table
from ..tables.surveyed import Release
from .flag_rules import FORMS, check_together

# A line of a unit holds them all, and the kernel takes 128 KiB for one argument.
LONGEST_STRING = 4096

# What may be written after two dashes without becoming something else.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")

INTEGER_BITS = {"int32": 32, "int64": 64}


def arguments(
    flags: Mapping[str, Any], version: str, path: str = "flags", *, allow_unsurveyed: bool = False
) -> list[str]:
    """Return ``flags`` as arguments of the server of release ``version``.

    :param flags: flag names without dashes and their values: numbers for numeric flags, booleans for switches,
        strings for the rest. ``None`` leaves a flag unset.
    :param version: the release that will read them, ``MAJOR.MINOR.PATCH``. A release newer than the newest one
        surveyed is taken to know the same flags.
    :param path: what to call ``flags`` in errors.
    :param allow_unsurveyed: write flags that no surveyed release has as they are, where the release is a newer one.
    :returns: ``["--port=8500", ...]`` in the order of the table, whatever the order of ``flags``; then those that are
        in no table, by name.
    :raises WishError: a flag is unknown, too new, of the wrong type, out of bounds or at odds with another.
    """
    release = surveyed.parse(version)
    if not isinstance(flags, Mapping):
        raise WishError(path, f"flags are a mapping of names to values, not {kind(flags)}", "write 'name: value'")
    wishes = {name: value for name, value in flags.items() if value is not None}
    others = _unsurveyed(wishes, path) if allow_unsurveyed and surveyed.is_newer(version) else {}
    wishes = {name: value for name, value in wishes.items() if name not in others}
    for name in wishes:
        _check_name(name, release, version, path)
    texts = {name: _text(_flags()[name], value, f"{path}.{name}") for name, value in wishes.items()}
    check_together(wishes, _flags(), path)
    return [*(f"--{name}={texts[name]}" for name in _flags() if name in texts), *others.values()]


def _unsurveyed(wishes: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the arguments of flags that are in no table, by name; the type of a value tells how it is written."""
    names = sorted(name for name in wishes if isinstance(name, str) and _NAME.fullmatch(name) and name not in _flags())
    return {name: f"--{name}={_by_its_type(wishes[name], key_path(path, name))}" for name in names}


def _by_its_type(value: object, path: str) -> str:
    for python_type, flag_type in ((bool, "bool"), (int, "int64"), (float, "float"), (str, "string")):
        if isinstance(value, python_type):
            return WRITERS[flag_type]({"type": flag_type}, value, path)
    raise WishError(path, f"is {described(value)}", "write a boolean, a number or a string")


def meant(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flags`` with the texts that templates and ``-e`` make of numbers and truths as what they were."""
    return {name: _read(_flags().get(name, {}).get("type", ""), value) for name, value in flags.items()}


def _read(kind_of_flag: str, value: Any) -> Any:
    return READERS[kind_of_flag](value) if kind_of_flag in READERS else value


def known_flags(version: str) -> dict[str, dict[str, Any]]:
    """Return the flags that release ``version`` has, as name -> row of the table, in the order of the table."""
    release = surveyed.parse(version)
    return {name: dict(row) for name, row in _flags().items() if _has(release, row)}


@cache
def _flags() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in table("server_flags")["flags"]}


def _has(release: Release, row: Mapping[str, Any]) -> bool:
    # Flags arrive with a minor release, never with a patch: each was checked to be in the first release
    # candidate of its line, which the survey names only by the first final tag examined (2.15.1 for 2.15).
    return release[:2] >= surveyed.numbers(row["since"])[:2]


def _check_name(name: object, release: Release, version: str, path: str) -> None:
    row = _flags().get(name) if isinstance(name, str) else None
    if row is None:
        _refuse_unknown(name, release, version, path)
    elif not _has(release, row):
        problem = f"needs {row['since']} or newer, this host gets {version}"
        raise WishError(f"{path}.{name}", problem, "leave it out or raise tfserving_version")


def _refuse_unknown(name: object, release: Release, version: str, flags: str) -> None:
    path = f"{flags}.{name}" if isinstance(name, str) and is_shown(name.lstrip("-")) else key_path(flags, name)
    if isinstance(name, str) and name.startswith("-"):
        bare = name.lstrip("-")
        remedy = f"write '{bare}'" if is_shown(bare) else "write it without them"
        raise WishError(path, "the name carries its dashes", remedy)
    answer = table("flag_rules")["not_flags"].get(name) if isinstance(name, str) else None
    if answer:
        which = "surveyed release" if surveyed.is_newer(version) else "release"
        raise WishError(path, f"no {which} of the server has this flag", answer)
    guess = nearest(name, [known for known, row in _flags().items() if _has(release, row)])
    if surveyed.is_newer(version):
        raise surveyed.unknown(path, "flag", version, guess)
    raise WishError(path, "the server has no such flag and would go on without it", guess or "leave it out")


def _text(row: Mapping[str, Any], value: object, path: str) -> str:
    """Return the checked value as it stands after the equals sign."""
    limits = table("flag_rules")["limits"].get(row["name"], {})
    text = WRITERS[row["type"]](row, value, path)
    _check_bounds(value, limits, path)
    _check_choices(value, limits, path)
    if "form" in limits:
        FORMS[limits["form"]](value, path)
    return text


def _write_bool(row: Mapping[str, Any], value: object, path: str) -> str:
    if not isinstance(value, bool):
        raise WishError(path, f"needs a boolean, not {described(value)}", "write true or false without quotes")
    return "true" if value else "false"


def _write_integer(row: Mapping[str, Any], value: object, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WishError(path, f"needs a whole number, not {described(value)}", _number_remedy(value))
    bits = INTEGER_BITS[row["type"]]
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise WishError(
            path,
            f"{value if abs(value) < 10**20 else described(value)} does not fit into {bits} bits",
            f"stay within ±{2 ** (bits - 1) - 1}",
        )
    return str(int(value))


def _write_float(row: Mapping[str, Any], value: object, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WishError(path, f"needs a number, not {described(value)}", _number_remedy(value))
    # An int beyond what a float holds cannot be told from infinity.
    number = Decimal(repr(float(value))) if abs(value) < 1e300 else Decimal("inf")
    if not number.is_finite():
        raise WishError(path, f"needs a number, not {described(value)}", "write a finite number")
    return f"{number:f}"  # never an exponent: 0.00001, not 1e-05


def _write_string(row: Mapping[str, Any], value: object, path: str) -> str:
    if not isinstance(value, str):
        raise WishError(path, f"needs a string, not {described(value)}", "put the value in quotes")
    if len(value.encode("utf-8", "replace")) > LONGEST_STRING:
        raise WishError(path, f"is longer than {LONGEST_STRING} bytes", "write a shorter text")
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", value):
        raise WishError(path, "holds a line break or another control character", "write one line of plain text")
    return str(value)


WRITERS: dict[str, Callable[[Mapping[str, Any], object, str], str]] = {
    "bool": _write_bool,
    "int32": _write_integer,
    "int64": _write_integer,
    "float": _write_float,
    "string": _write_string,
}


# A flag's type tells what a text is meant to be.
READERS: dict[str, Callable[[Any], Any]] = {
    "bool": scalars.truth,
    "int32": scalars.decimal,
    "int64": scalars.decimal,
    "float": scalars.fraction,
}


def _number_remedy(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", value):
        return f"write {value} without quotes, and let a template end in '| int' or '| float'"
    return "write a number"


def _check_bounds(value: Any, limits: Mapping[str, Any], path: str) -> None:
    low, high = limits.get("min"), limits.get("max")
    if low is not None and value < low:
        remedy = f"write {low} or more" if high is None else f"write {low} to {high}"
        raise WishError(path, f"{value} is below {low}, and {limits['why']}", remedy)
    if high is not None and value > high:
        raise WishError(path, f"{value} is above {high}, and {limits['why']}", f"write {low} to {high}")


def _check_choices(value: Any, limits: Mapping[str, Any], path: str) -> None:
    if value not in limits.get("choices", [value]):
        names = " or ".join(f"'{choice}'" for choice in limits["choices"] if choice)
        raise WishError(path, f"{described(value)} has no effect: {limits['why']}", f"write {names}, or leave it out")
