# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Registry credentials, from the variable to the file that skopeo reads."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind

from . import bounds as wish_bounds

VARIABLE = "tfserving_registry_credentials"

# A host, optionally with a port and the beginning of a path (containers-auth.json(5)).
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]+)?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")


def auths(credentials: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Return the contents of an authentication file (containers-auth.json(5)).

    :param credentials: registries, each with ``username`` and ``password``.
    :raises WishError: a login is invalid; the text never contains a password.
    """
    if not isinstance(credentials, Mapping):
        raise WishError(VARIABLE, f"needs a mapping, not {kind(credentials)}", "name registries with their logins")
    wish_bounds.check(VARIABLE, credentials)
    for number, registry in enumerate(credentials, start=1):
        if not isinstance(registry, str) or not _REGISTRY.fullmatch(registry):
            problem = f"holds a name, the {number}. one, that no registry has"
            raise WishError(VARIABLE, problem, "name it as docker.io or registry.example:5000")
    return {"auths": {registry: {"auth": _login(registry, login)} for registry, login in credentials.items()}}


def _login(registry: str, login: Any) -> str:
    path = f"{VARIABLE}.{registry}"
    if not isinstance(login, Mapping) or not {"username", "password"} <= set(login):
        raise WishError(path, "lacks username or password", "give both, the password out of a vault")
    for name in ("username", "password"):
        if not isinstance(login[name], str):
            raise WishError(f"{path}.{name}", f"needs a string, not {kind(login[name])}", "write it in quotes")
        scalars.one_line(f"{path}.{name}", login[name])
    # The first colon ends the name (RFC 7617), so a name with a colon would be read as another name and password.
    if ":" in login["username"]:
        raise WishError(f"{path}.username", "holds a colon, which no registry's login can", "correct the name")
    return base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode("ascii")
