# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a model comes from: the shape of `tfserving_models[].source` and the versions that it can provide."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import is_sha256
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    key_path,
    kind,
    nearest,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.web import address as web_address

from . import checks as fields

TYPES = ("path", "http")
PLANNED_TYPES = ("mlflow", "s3", "s3-compatible")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A header's name is a token of RFC 9110.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def source_type(path: str, value: Any) -> str:
    """Check the type; those that are meant to come are told apart from misspellings."""
    if isinstance(value, str) and value in TYPES:
        return str(value)
    if isinstance(value, str) and value in PLANNED_TYPES:
        raise WishError(path, f"is '{value}', which is not yet supported", "use path or http")
    raise WishError(path, f"is {described(value)}", nearest(value, TYPES) or f"choose one of {', '.join(TYPES)}")


def sha256(path: str, value: Any) -> str | dict[str, str]:
    """Check one digest, or a mapping of versions to digests."""
    if isinstance(value, Mapping):
        return _digests(path, value)
    return _digest(path, value)


def _digests(path: str, value: Mapping[Any, Any]) -> dict[str, str]:
    result: dict[str, str] = {}
    for key, digest in value.items():
        version = str(fields.version(key_path(path, key), key))
        if version in result:
            raise WishError(f"{path}.{version}", "is given twice, as a number and as text", "keep one of them")
        result[version] = _digest(f"{path}.{version}", digest)
    return result


def _digest(path: str, value: Any) -> str:
    if is_sha256(value):
        return str(value).lower()
    raise WishError(path, f"is {described(value)}", "give the 64 hexadecimal digits that sha256sum prints")


def headers(path: str, value: Any) -> dict[str, str]:
    """Check the headers of a request; none of it is ever shown, as every part may be a credential."""
    result = {}
    for number, (name, entry) in enumerate(fields.mapping(path, value).items(), start=1):
        if not _HEADER.fullmatch(name):
            raise WishError(path, f"holds a name, the {number}. one, that no header can have", "write 'Name: value'")
        if isinstance(entry, bool) or not isinstance(entry, (str, int, float)):
            raise WishError(key_path(path, name), f"is {kind(entry)}", "give a text on one line")
        text = scalars.one_line(key_path(path, name), str(entry))
        if not text.isascii():
            raise WishError(key_path(path, name), "holds a character that no header can", "use ASCII")
        result[name] = text
    return result


FIELDS: dict[str, fields.Check] = {
    "type": source_type,
    "uri": fields.text,
    "sha256": sha256,
    "remote": scalars.boolean,
    "headers": headers,
}


def source(path: str, value: Any) -> dict[str, Any]:
    """Check one source by itself."""
    wish = fields.fields(path, value, "a source", FIELDS)
    for key in ("type", "uri"):
        if key not in wish:
            raise WishError(f"{path}.{key}", "is missing", "give a source its type (path or http) and its uri")
    for name in _PLACEHOLDER.findall(wish["uri"]):
        if name != "version":
            raise WishError(f"{path}.uri", "holds a placeholder other than {version}", "only {version} is filled in")
    _address(path, wish)
    for key, meant_for in (("remote", "path"), ("headers", "http")):
        if key in wish and wish["type"] != meant_for:
            raise WishError(
                f"{path}.{key}", f"means nothing for the type {wish['type']}", f"leave it out or use type {meant_for}"
            )
    return wish


def _address(path: str, wish: Mapping[str, Any]) -> None:
    scheme = _SCHEME.match(wish["uri"])
    if wish["type"] == "path":
        if scheme:
            raise WishError(
                f"{path}.uri",
                "begins with a scheme such as https://, but the type is path",
                "use type http for http(s) addresses, or give a directory or an archive",
            )
        if web_address.is_meant(wish["uri"]):
            problem = "is neither a path nor an address that begins with https:// or http://"
            raise WishError(f"{path}.uri", problem, "give a directory or an archive, or use type http")
        return
    parts = web_address.parts(wish["uri"].replace("{version}", "0"))
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", wish["uri"]):
        raise WishError(f"{path}.uri", "is not a web address", "begin it with https://HOST/ or http://HOST/")
    if parts.password is not None:
        raise WishError(
            f"{path}.uri", "holds a password, which would show up in logs", "give it through source.headers"
        )
    if "sha256" not in wish:
        raise WishError(
            f"{path}.sha256",
            "is missing, and downloads are only taken when their digest is known",
            "give the output of sha256sum for the archive",
        )


def provided(path: str, wish: Mapping[str, Any], asked: list[int], versions: list[int]) -> list[int]:
    """Return which of ``versions`` the source can provide; ``asked`` are those that the wish itself names.

    A uri without {version} stands for exactly one version.
    """
    if "{version}" not in wish["uri"]:
        if len(asked) > 1:
            raise WishError(
                f"{path}.uri",
                f"is one address for {len(asked)} versions ({_listed(asked)})",
                "put {version} where the version stands in it",
            )
        versions = asked
    digests = wish.get("sha256")
    if digests is not None:
        _refuse_uncovered(f"{path}.sha256", digests, asked, versions)
    return versions


def _refuse_uncovered(path: str, digests: str | dict[str, str], asked: list[int], versions: list[int]) -> None:
    # A bare digest is that of the one version which the wish names.
    covered = digests if isinstance(digests, dict) else [str(version) for version in asked if len(asked) == 1]
    missing = [version for version in versions if str(version) not in covered]
    if missing:
        raise WishError(path, f"holds no digest of version {_listed(missing)}", "map each version to its digest")


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))
