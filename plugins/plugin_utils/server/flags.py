# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line of ``tensorflow_model_server`` from a mapping of flags, with checks of whether it can work.

The server starts despite a misspelt flag, equal ports and a dozen other mistakes, with part of the service missing, so
everything that shows in the flags alone is refused here, before a host is touched.

The flags come from ``tables/server_flags.yml``, their bounds from ``tables/flag_rules.yml``; rules that involve several
flags are in ``server/flag_rules.py``.
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

# All flags share one line of a unit, and the kernel accepts 128 KiB for one argument.
LONGEST_STRING = 4096

# Names that are safe to write after two dashes.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")

# Larger numbers are refused: a float holds little more.
LARGEST_NUMBER = 1e300

INTEGER_BITS = {"int32": 32, "int64": 64}


def check(flags: Mapping[str, Any], version: str, path: str = "flags", *, allow_unsurveyed: bool = False) -> None:
    """Refuse ``flags`` that the server of release ``version`` would not obey.

    :param flags: flag names without dashes and their values: numbers for numeric flags, booleans for switches,
        strings for the rest. ``None`` leaves a flag unset.
    :param version: the release that will read them, ``MAJOR.MINOR.PATCH``. A release newer than any surveyed one is
        assumed to have the same flags as the newest surveyed one.
    :param path: the name for ``flags`` in errors.
    :param allow_unsurveyed: permit flags that no surveyed release has, if the release is newer.
    :raises WishError: a flag is unknown, too new, of the wrong type, out of bounds or at odds with another.
    """
    release = surveyed.parse(version)
    if not isinstance(flags, Mapping):
        raise WishError(path, f"flags are a mapping of names to values, not {kind(flags)}", "write 'name: value'")
    wishes = _set(flags)
    others = _unsurveyed(wishes) if allow_unsurveyed and surveyed.is_newer(version) else []
    for name in others:
        _check_by_its_type(wishes.pop(name), key_path(path, name))
    for name in wishes:
        _check_name(name, release, version, path)
    for name, value in wishes.items():
        _check_value(_flags()[name], value, f"{path}.{name}")
    check_together(wishes, _flags(), path)


def arguments(
    flags: Mapping[str, Any], version: str, path: str = "flags", *, allow_unsurveyed: bool = False
) -> list[str]:
    """Return ``flags`` as arguments of the server of release ``version``.

    The parameters are those of ``check``, which is called first.

    :returns: ``["--port=8500", ...]`` in the order of the table, whatever the order of ``flags``; then those that are
        in no table, by name, written according to the types of their values.
    :raises WishError: from ``check``.
    """
    check(flags, version, path, allow_unsurveyed=allow_unsurveyed)
    wishes = _set(flags)
    known = [f"--{name}={WRITERS[row['type']](wishes[name])}" for name, row in _flags().items() if name in wishes]
    others = _unsurveyed(wishes)
    return known + [f"--{name}={WRITERS[_type_of(wishes[name])](wishes[name])}" for name in others]


def _set(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _unsurveyed(wishes: Mapping[str, Any]) -> list[str]:
    """Return the flags that are in no table, sorted."""
    return sorted(name for name in wishes if isinstance(name, str) and _NAME.fullmatch(name) and name not in _flags())


def _check_by_its_type(value: object, path: str) -> None:
    type_ = _type_of(value)
    if not type_:
        raise WishError(path, f"is {described(value)}", "write a boolean, a number or a string")
    CHECKS[type_](type_, value, path)


def _type_of(value: object) -> str:
    """Return the type of flag for a value like this, empty if there is none."""
    types = ((bool, "bool"), (int, "int64"), (float, "float"), (str, "string"))
    return next((type_ for python_type, type_ in types if isinstance(value, python_type)), "")


def meant(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``flags`` with the numbers and booleans that templates and ``-e`` have turned into text."""
    return {name: _read(_flags().get(name, {}).get("type", ""), value) for name, value in flags.items()}


def _read(kind_of_flag: str, value: Any) -> Any:
    return READERS[kind_of_flag](value) if kind_of_flag in READERS else value


def known_flags(version: str) -> dict[str, dict[str, Any]]:
    """Return the flags of release ``version`` as name -> row of the table, in the order of the table."""
    release = surveyed.parse(version)
    return {name: dict(row) for name, row in _flags().items() if _has(release, row)}


@cache
def _flags() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in table("server_flags")["flags"]}


def _has(release: Release, row: Mapping[str, Any]) -> bool:
    # Flags arrive with a minor release, never with a patch: each was checked to be in the first release candidate of
    # its line, for which the survey has only the first final tag examined (2.15.1 for 2.15).
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


def _check_value(row: Mapping[str, Any], value: object, path: str) -> None:
    limits = table("flag_rules")["limits"].get(row["name"], {})
    CHECKS[row["type"]](row["type"], value, path)
    _check_bounds(value, limits, path)
    _check_choices(value, limits, path)
    if "form" in limits:
        FORMS[limits["form"]](value, path)


def _check_bool(_type: str, value: object, path: str) -> None:
    if not isinstance(value, bool):
        raise WishError(path, f"needs a boolean, not {described(value)}", "write true or false without quotes")


def _check_integer(type_: str, value: object, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WishError(path, f"needs a whole number, not {described(value)}", _number_remedy(value))
    bits = INTEGER_BITS[type_]
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise WishError(
            path,
            f"{value if abs(value) < 10**20 else described(value)} does not fit into {bits} bits",
            f"stay within ±{2 ** (bits - 1) - 1}",
        )


def _check_float(_type: str, value: object, path: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WishError(path, f"needs a number, not {described(value)}", _number_remedy(value))
    # As a float, a larger int cannot be told from infinity.
    if not abs(value) < LARGEST_NUMBER:
        raise WishError(path, f"needs a number, not {described(value)}", "write a finite number")


def _check_string(_type: str, value: object, path: str) -> None:
    if not isinstance(value, str):
        raise WishError(path, f"needs a string, not {described(value)}", "put the value in quotes")
    if len(value.encode("utf-8", "replace")) > LONGEST_STRING:
        raise WishError(path, f"is longer than {LONGEST_STRING} bytes", "write a shorter text")
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", value):
        raise WishError(path, "holds a line break or another control character", "write one line of plain text")


# The check of values for each type of flag.
CHECKS: dict[str, Callable[[str, object, str], None]] = {
    "bool": _check_bool,
    "int32": _check_integer,
    "int64": _check_integer,
    "float": _check_float,
    "string": _check_string,
}

# The text after the equals sign for a checked value of each type.
WRITERS: dict[str, Callable[[Any], str]] = {
    "bool": lambda value: "true" if value else "false",
    "int32": lambda value: str(int(value)),
    "int64": lambda value: str(int(value)),
    # Never with an exponent: 0.00001, not 1e-05.
    "float": lambda value: f"{Decimal(repr(float(value))):f}",
    "string": str,
}


# The conversion of text for each type of flag.
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
