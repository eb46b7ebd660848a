# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of all sources. What meets a source asks this table instead of naming types."""

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
from .row import Key, Source

SOURCES: tuple[Source, ...] = (CONTROLLER, HOST, HTTP)
# Meant to come, and told apart from misspellings until then.
PLANNED = ("mlflow", "s3", "s3-compatible")


def of(source: Mapping[str, Any], path: str = "source") -> Source:
    """Return the row of a source; refuses an unknown type."""
    known = known_type(f"{path}.type", source.get("type"))
    return next(row for row in SOURCES if row.type == known and row.meant(source))


def types() -> list[str]:
    """Return the names of all types."""
    return list(dict.fromkeys(row.type for row in SOURCES))


def known_type(path: str, value: Any) -> str:
    """Return the name of a type; refuses an unknown one."""
    if isinstance(value, str) and value in types():
        return str(value)
    if isinstance(value, str) and value in PLANNED:
        raise WishError(path, f"is '{value}', which is not yet supported", f"use {' or '.join(types())}")
    remedy = nearest(value, types()) or f"choose one of {', '.join(types())}"
    raise WishError(path, f"is {described(value)}", remedy)


def keys() -> dict[str, Key]:
    """Return the keys that not every type has."""
    return {name: key for row in SOURCES for name, key in row.keys.items()}


def check(path: str, source: Mapping[str, Any]) -> None:
    """Refuse a source that no run could use."""
    row, wished = of(source, path), source.get("sha256")
    one_line(f"{path}.uri", source.get("uri"))
    for name, key in row.keys.items():
        if source.get(name) is not None:
            key.check(f"{path}.{name}", source[name])
    for value in wished.values() if isinstance(wished, Mapping) else [wished] if wished else []:
        digest(f"{path}.sha256", value)
    row.check(path, source)


def check_wish(path: str, wish: Mapping[str, Any]) -> None:
    """Refuse a source that no run could use, or that a wish does not describe as its type asks."""
    check(path, wish)
    row = of(wish, path)
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
    """Return the keys whose values may be secret: a plan does not hold them, and they travel beside it."""
    secret = {*of(source).secret, *(["uri"] if address.is_meant(source["uri"]) else [])}
    return secret & source.keys()


def whole(shown: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source again, from what a plan says of it and what travels beside the plan."""
    return {**shown, **beside}
