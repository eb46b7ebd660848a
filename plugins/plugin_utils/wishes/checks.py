# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of single values of a wish.

Every function takes a variable's path and its value, and returns the value normalised, as plain data, or raises
WishError. None of them looks at other values; rules that involve several are in wishes/read.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    key_path,
    kind,
    nearest,
    unknown_key,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.models.names import MODEL_NAME
from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import (
    decimal,
    fraction,
    is_whole,
    one_line,
    truth,
)

Check = Callable[[str, Any], Any]

# An instance name becomes part of a unit name, of paths and of labels: no dots (systemd reads ".service"), no "@".
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# The guide restricts labels to word characters (g3doc/serving_config.md, "Assigning string labels").
LABEL_NAME = re.compile(r"\w+", re.ASCII)
# UUIDs and MIG ids, old and new ("MIG-GPU-UUID/1/0"), and MIG profiles ("1g.10gb", "1g.10gb+me", "1c.3g.40gb").
GPU_ID = re.compile(r"[A-Za-z][A-Za-z0-9/-]{0,127}|([0-9]{1,2}c\.)?[0-9]{1,2}g\.[0-9]{1,4}gb([+-][a-z.]{1,16})?", re.I)
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST_INT64 = 2**63 - 1
# A unit's directory is "tfserving-health@NAME.service.d", and the file system ends names at 255 bytes.
LONGEST_INSTANCE = 64
# A model's name is that of a directory, whose staged copy has a longer name.
LONGEST_MODEL = 128
# Comparing all pairs takes quadratic time.
MOST_ENTRIES = 1000
# Keeps the planner's own figures far below the limits of their types.
LARGEST_COUNT = 1_000_000
# A path on the host; the deepest file below it stays within the kernel's 4096.
LONGEST_PATH = 1024
LONGEST_PART = 255
# Characters without a special meaning in shells, units and mount options.
_PATH = re.compile(r"/[A-Za-z0-9._+@=,/-]+")


def plain(value: Any) -> Any:
    """Copy nested data into ordinary dicts and lists, so that the plan shares nothing with the input."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def whole(least: int = 1, most: int = LARGEST_INT64, what: str = "a whole number") -> Check:
    """Return a check for a whole number within bounds, which may be text in decimal digits."""
    bounds = f"from {least}" if most == LARGEST_INT64 else f"from {least} to {most}"

    def check(path: str, value: Any) -> int:
        number = decimal(value)
        if is_whole(number) and least <= number <= most:
            return int(number)
        how = " in plain decimal digits" if isinstance(value, str) else ""
        raise WishError(path, f"is {described(value)}", f"give {what} {bounds}{how}")

    return check


def count(what: str = "a whole number", least: int = 1) -> Check:
    """Return a check for a count of something."""
    return whole(least, LARGEST_COUNT, what)


version = whole(what="a version, which is a whole number")


def within(least: float, most: float, what: str = "a number") -> Check:
    """Return a check for a number that need not be whole."""

    def check(path: str, value: Any) -> float:
        number = fraction(value)
        if isinstance(number, (int, float)) and not isinstance(number, bool) and least <= number <= most:
            return number
        how = " in plain decimal digits" if isinstance(value, str) else ""
        raise WishError(path, f"is {described(value)}", f"give {what} from {least:.12g} to {most:.12g}{how}")

    return check


# Beyond a thousandth and a million, shares of CPUs and memory are rounding errors.
positive = within(0.001, 1e6)
milliseconds = within(0.001, 86_400_000, "milliseconds")


text = one_line


def directory(path: str, value: Any) -> str:
    """Check an absolute path on the host for use in units, mounts and commands, and return it normalised."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise WishError(path, f"is {described(value)}", "give an absolute path")
    parts = value.strip("/").split("/")
    if not value.strip("/"):
        raise WishError(path, "is the root of the host", "give a directory of its own")
    if not _PATH.fullmatch(value):
        raise WishError(
            path, "holds a character that units or commands interpret", "use letters, digits and . _ + @ = , -"
        )
    if any(part in ("", ".", "..") for part in parts):
        raise WishError(path, "holds an empty part, '.' or '..'", "give the path as it is after them")
    if len(value) > LONGEST_PATH or any(len(part) > LONGEST_PART for part in parts):
        raise WishError(path, "is too long", f"use at most {LONGEST_PATH} bytes, and {LONGEST_PART} between slashes")
    return "/" + "/".join(parts)


def mapping(path: str, value: Any) -> dict[str, Any]:
    """Check a mapping and return a copy of it."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    raise WishError(path, f"is {kind(value)}", "give a mapping of names to values")


def one_of(*choices: str) -> Check:
    """Return a check for one of several words."""

    def check(path: str, value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return str(value)
        raise WishError(
            path, f"is {described(value)}", nearest(value, choices) or f"choose one of {', '.join(choices)}"
        )

    return check


def named(pattern: re.Pattern[str], allowed: str, longest: int) -> Check:
    """Return a check for a name that is safe in units, paths and addresses."""

    def check(path: str, value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            if len(value) > longest:
                raise WishError(path, f"is {len(value)} characters long", f"use at most {longest}")
            return str(value)
        remedy = "write the name in quotes" if is_whole(value) else f"use {allowed}, beginning with a letter or digit"
        raise WishError(path, f"is {described(value)}, which cannot be a name", remedy)

    return check


def matching(pattern: re.Pattern[str], remedy: str, is_secret: bool = False) -> Check:
    """Return a check for a text of a pattern, whose refusal tells no more than the kind of a secret."""

    def check(path: str, value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return str(value)
        raise WishError(path, f"is {kind(value) if is_secret else described(value)}", remedy)

    return check


def pem(path: str, value: Any) -> str:
    """Check a PEM text, which may be empty."""
    if not isinstance(value, str) or not value.isascii() or (value and "-----BEGIN " not in value):
        raise WishError(path, f"is {kind(value)}, not PEM text", "begin it with its -----BEGIN line")
    return str(value)


instance_name = named(INSTANCE_NAME, "letters, digits, '-' and '_'", LONGEST_INSTANCE)
model_name = named(MODEL_NAME, "letters, digits, '.', '-' and '_'", LONGEST_MODEL)


def distinct(path: str, value: Any, check: Check) -> list[Any]:
    """Check a list of at least one entry without duplicates."""
    if not isinstance(value, (list, tuple)):
        raise WishError(path, f"is {kind(value)}", "give a list")
    if not value:
        raise WishError(path, "is an empty list", "name at least one")
    if len(value) > MOST_ENTRIES:
        raise WishError(path, f"holds {len(value)} entries", f"give at most {MOST_ENTRIES}")
    entries = [check(f"{path}[{position}]", entry) for position, entry in enumerate(value)]
    for position, entry in enumerate(entries):
        if entry in entries[:position]:
            raise WishError(f"{path}[{position}]", f"names {entry} a second time", "leave it out")
    return entries


def versions(path: str, value: Any) -> list[int]:
    """Check a list of versions and return it sorted."""
    return sorted(distinct(path, value, version))


def sizes(path: str, value: Any) -> list[int]:
    """Check a list of batch sizes; their order is checked with the other batching fields."""
    return distinct(path, value, count("a batch size"))


def model_names(path: str, value: Any) -> list[str]:
    """Check the list of models of an instance."""
    return distinct(path, value, model_name)


def cpus(path: str, value: Any) -> int | None:
    """Check ``auto`` (returned as None) or a count of cores."""
    return None if value == "auto" else count("'auto' or a count of cores")(path, value)


def gpu_id(path: str, value: Any) -> int | str:
    """Check one index, UUID or MIG id."""
    number = decimal(value)
    if is_whole(number) and 0 <= number <= LARGEST_COUNT:
        return int(number)
    if isinstance(value, str) and GPU_ID.fullmatch(value):
        return str(value)
    remedy = "give the index or UUID of a GPU, or the id or profile of a MIG slice, as nvidia-smi -L shows it"
    raise WishError(path, f"is {described(value)}", remedy)


def gpus(path: str, value: Any) -> int | list[int | str]:
    """Check a count of GPUs (0 for none) or a list of specific ones."""
    number = decimal(value)
    if is_whole(number) and 0 <= number <= LARGEST_COUNT:
        return int(number)
    if isinstance(value, (list, tuple)):
        return distinct(path, value, gpu_id) if value else 0
    raise WishError(
        path,
        f"is {described(value)}",
        "give a count of GPUs (0 for none), or a list of indexes, UUIDs, MIG ids or profiles",
    )


PORT_FIELDS: dict[str, Check] = {"grpc": whole(1, 65535, "a port"), "rest": whole(1, 65535, "a port")}


def fields(path: str, value: Any, of: str, known: Mapping[str, Check]) -> dict[str, Any]:
    """Check a mapping key by key; keys without a value count as absent."""
    if not isinstance(value, Mapping):
        raise WishError(path, f"is {kind(value)}", f"give {of} as a mapping with the keys {', '.join(known)}")
    result = {}
    for key, entry in value.items():
        if key not in known:
            raise unknown_key(path, key, of, known)
        if entry is not None:
            result[str(key)] = known[key](f"{path}.{key}", entry)
    return result


def ports(path: str, value: Any) -> dict[str, int]:
    """Check the two ports of an instance; either may be omitted."""
    return fields(path, value, "ports", PORT_FIELDS)


def labels(path: str, value: Any) -> dict[str, int]:
    """Check a mapping of labels to versions."""
    result = {}
    for name, target in mapping(path, value).items():
        if not LABEL_NAME.fullmatch(name) or len(name) > LONGEST_MODEL:
            raise WishError(key_path(path, name), "cannot be a label", "use letters, digits and '_'")
        result[name] = version(f"{path}.{name}", target)
    return result


def serve_all(path: str, value: Any) -> bool:
    """Check the value of ``all``, for which only true makes sense."""
    if truth(value) is True:
        return True
    raise WishError(path, f"is {described(value)}", "write 'all: true', or choose 'latest' or 'versions' instead")


SERVE_FIELDS: dict[str, Check] = {
    "latest": whole(1, MOST_ENTRIES),
    "all": serve_all,
    "versions": versions,
    "labels": labels,
}


def serve(path: str, value: Any) -> dict[str, Any]:
    """Check which versions of a model to serve: one of latest, all and versions, the last optionally with labels."""
    wish = fields(path, value, "serve", SERVE_FIELDS)
    chosen = [key for key in ("latest", "all", "versions") if key in wish]
    if len(chosen) != 1:
        problem = f"gives {' and '.join(chosen)} together" if chosen else "says nothing about which versions to serve"
        raise WishError(path, problem, "give exactly one of latest, all and versions")
    if "labels" in wish and "versions" not in wish:
        raise WishError(
            f"{path}.labels",
            f"names versions, but '{chosen[0]}' leaves open which are served",
            "list the versions under 'versions'",
        )
    for name, target in wish.get("labels", {}).items():
        if target not in wish["versions"]:
            raise WishError(
                f"{path}.labels.{name}",
                f"points at version {target}, which is not served",
                f"add {target} to {path}.versions or point at one of {listed(wish['versions'])}",
            )
    return wish


def listed(values: Iterable[Any]) -> str:
    """Return values one after another, as a sentence names them."""
    return ", ".join(str(value) for value in values)


def examples(path: str, value: Any) -> Any:
    """Check the rows of a probe."""
    if isinstance(value, (list, tuple)) and value:
        return plain(value)
    raise WishError(path, f"is {kind(value)}", "give a list of at least one row")


def columns(path: str, value: Any) -> Any:
    """Check the inputs of a probe: a mapping of names to tensors, or one bare tensor."""
    if isinstance(value, (Mapping, list, tuple)) and value:
        return plain(value)
    raise WishError(path, f"is {kind(value)}", "give a mapping of input names to values")


def anything(_path: str, value: Any) -> Any:
    """Accept every value."""
    return plain(value)


PROBE_FIELDS: dict[str, Check] = {"instances": examples, "inputs": columns, "signature_name": text, "expect": anything}


def probe(path: str, value: Any) -> dict[str, Any]:
    """Check the request that proves a model: rows or columns, and the expected answer."""
    wish = fields(path, value, "a probe", PROBE_FIELDS)
    if ("instances" in wish) == ("inputs" in wish):
        problem = "gives instances and inputs together" if "inputs" in wish else "holds no request"
        raise WishError(path, problem, "give either instances (rows) or inputs (columns)")
    return wish
