# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Table of all types of sources. All other code asks it instead of naming types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...disk.digests import is_sha256
from ...errors import WishError, described, nearest
from ...scalars import one_line
from ...web import address
from .controller import CONTROLLER
from .host import HOST
from .http import HTTP
from .mlflow import MLFLOW
from .row import Key, Source
from .s3 import S3

SOURCES: tuple[Source, ...] = (CONTROLLER, HOST, HTTP, MLFLOW, S3)
# What people call a type, too far from its name for a guess.
CALLED = {"s3-compatible": "s3", "minio": "s3", "https": "http", "file": "path", "local": "path"}


def of(source: Mapping[str, Any], path: str = "source") -> Source:
    """Return the row of a source, or refuse an unknown type."""
    known = known_type(f"{path}.type", source.get("type"))
    return next(row for row in SOURCES if row.type == known and row.meant(source))


def types() -> list[str]:
    """Return the names of all types."""
    return list(dict.fromkeys(row.type for row in SOURCES))


def known_type(path: str, value: Any) -> str:
    """Return the name of a type, or refuse an unknown one."""
    if isinstance(value, str) and any(row.type == value for row in SOURCES):
        return str(value)
    called = CALLED.get(value, "") if isinstance(value, str) else ""
    guess = f"did you mean '{called}'?" if called else nearest(value, types())
    remedy = guess or f"choose one of {', '.join(types())}"
    raise WishError(path, f"is {described(value)}", remedy)


def keys() -> dict[str, Key]:
    """Return the keys that only some types have."""
    return {name: key for row in SOURCES for name, key in row.keys.items()}


def check(path: str, source: Mapping[str, Any]) -> Source:
    """Return the row of a source, or refuse one that no run could use."""
    row, wished = of(source, path), source.get("sha256")
    one_line(f"{path}.uri", source.get("uri"))
    for name, key in row.keys.items():
        if source.get(name) is not None:
            key.check(f"{path}.{name}", source[name])
    for value in wished.values() if isinstance(wished, Mapping) else [wished] if wished else []:
        digest(f"{path}.sha256", value)
    row.check(path, source)
    return row


def check_wish(path: str, wish: Mapping[str, Any]) -> None:
    """Refuse a wish for a source that cannot work, lacks a required key or has a key of another type."""
    row = check(path, wish)
    row.check_wish(path, wish)
    for key in wish:
        others = dict.fromkeys(each.type for each in SOURCES if key in each.keys)
        if others and key not in row.keys:
            problem = f"means nothing for the type {row.type}"
            raise WishError(f"{path}.{key}", problem, f"leave it out or use type {' or '.join(others)}")


def digest(path: str, value: Any) -> str:
    """Return a checksum in lower case."""
    if is_sha256(value):
        return str(value).lower()
    raise WishError(path, f"is {described(value)}", "give the 64 hexadecimal digits that sha256sum prints")


def hidden(source: Mapping[str, Any]) -> set[str]:
    """Return the keys with possibly secret values, which are passed beside the plan."""
    secret = {*of(source).secret, *(["uri"] if address.is_meant(source["uri"]) else [])}
    return secret & source.keys()


def kept() -> set[str]:
    """Return the keys with values that never leave the controller."""
    return {name for row in SOURCES for name in row.kept}


def whole(shown: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source of a plan with the values that were passed beside the plan."""
    return {**shown, **beside}
