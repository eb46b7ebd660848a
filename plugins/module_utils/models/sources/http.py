# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Archives on web servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import WishError, key_path, kind
from ...scalars import one_line
from ...web import address
from .row import Bench, Key, Obtained, Source

# A header's name is a token of RFC 9110.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def headers(path: str, value: Any) -> dict[str, str]:
    """Check the headers of a request. They are never shown, because every part may be a credential."""
    if not isinstance(value, Mapping):
        raise WishError(path, f"is {kind(value)}", "give a mapping of names to values")
    result = {}
    for number, (name, entry) in enumerate(value.items(), start=1):
        if not _HEADER.fullmatch(str(name)):
            raise WishError(path, f"holds a name, the {number}. one, that no header can have", "write 'Name: value'")
        result[str(name)] = _header(key_path(path, str(name)), entry)
    return result


def _header(path: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WishError(path, f"is {kind(value)}", "give a text on one line")
    text = one_line(path, str(value))
    if not text.isascii():
        raise WishError(path, "holds a character that no header can", "use ASCII")
    return text


def _check(path: str, source: Mapping[str, Any]) -> None:
    parts = address.parts(source["uri"].replace("{version}", "0"))
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", source["uri"]):
        raise WishError(f"{path}.uri", "is not a web address", "begin it with https://HOST/ or http://HOST/")


def _check_wish(path: str, wish: Mapping[str, Any]) -> None:
    parts = address.parts(wish["uri"].replace("{version}", "0"))
    if parts and parts.password is not None:
        problem = "holds a password, which would show up in logs"
        raise WishError(f"{path}.uri", problem, "give it through source.headers")
    if "sha256" not in wish:
        problem = "is missing, and downloads are only taken when their digest is known"
        raise WishError(f"{path}.sha256", problem, "give the output of sha256sum for the archive")


def _obtain(bench: Bench) -> Obtained:
    path, sha256 = bench.download(bench.request.source.get("headers") or {})
    return Obtained(path, bench.request.sha256, sha256)


HTTP = Source(
    type="http",
    keys={"headers": Key(headers, {"type": "dict", "default": {}, "no_log": True})},
    secret=("headers",),
    check=_check,
    check_wish=_check_wish,
    bundled=True,
    obtain=_obtain,
)
