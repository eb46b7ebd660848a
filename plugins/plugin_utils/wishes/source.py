# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The source of a model: checks of `tfserving_models[].source`, and the versions that it can provide."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources

from . import checks as fields

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def sha256(path: str, value: Any) -> str | dict[str, str]:
    """Check one digest, or a mapping of versions to digests."""
    if isinstance(value, Mapping):
        return _digests(path, value)
    return sources.digest(path, value)


def _digests(path: str, value: Mapping[Any, Any]) -> dict[str, str]:
    result: dict[str, str] = {}
    for key, digest in value.items():
        version = str(fields.version(key_path(path, key), key))
        if version in result:
            raise WishError(f"{path}.{version}", "is given twice, as a number and as text", "keep one of them")
        result[version] = sources.digest(f"{path}.{version}", digest)
    return result


def known() -> dict[str, fields.Check]:
    """Return the checks of the keys of all types."""
    own = {name: key.check for name, key in sources.keys().items()}
    return {"type": sources.known_type, "uri": fields.text, "sha256": sha256, **own}


def source(path: str, value: Any) -> dict[str, Any]:
    """Check one source by itself."""
    wish = fields.fields(path, value, "a source", known())
    for key in ("type", "uri"):
        if key not in wish:
            remedy = f"give a source its type ({' or '.join(sources.types())}) and its uri"
            raise WishError(f"{path}.{key}", "is missing", remedy)
    for name in _PLACEHOLDER.findall(wish["uri"]):
        if name != "version":
            raise WishError(f"{path}.uri", "holds a placeholder other than {version}", "only {version} is filled in")
    sources.check_wish(path, wish)
    return wish


def provided(path: str, wish: Mapping[str, Any], asked: list[int], versions: list[int]) -> list[int]:
    """Return those of ``versions`` that the source can provide; ``asked`` are the ones named in the wish itself.

    A uri without {version} stands for exactly one version, and so does an alias.
    """
    row = sources.of(wish)
    if not row.several(wish):
        if len(asked) > 1:
            key, problem, remedy = row.one_alone
            raise WishError(f"{path}.{key}", f"{problem} {len(asked)} versions ({fields.listed(asked)})", remedy)
        versions = asked
    digests = wish.get("sha256")
    if digests is not None:
        _refuse_uncovered(f"{path}.sha256", digests, asked, versions)
    return versions


def _refuse_uncovered(path: str, digests: str | dict[str, str], asked: list[int], versions: list[int]) -> None:
    # A bare digest belongs to the only version that the wish names.
    covered = digests if isinstance(digests, dict) else [str(version) for version in asked if len(asked) == 1]
    missing = [version for version in versions if str(version) not in covered]
    if missing:
        raise WishError(path, f"holds no digest of version {fields.listed(missing)}", "map each version to its digest")
