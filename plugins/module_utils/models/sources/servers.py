# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What sources on servers of their own have in common: the controller fetches from them, with its own credentials."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import WishError, key_path, kind, unknown_key
from ...scalars import one_line
from ...web import address
from .row import Key

# The only key of a credential that is taken from the controller's environment.
ENVIRONMENT = "environment"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def credentials(path: str, value: Any) -> dict[str, str | dict[str, str]]:
    """Check credentials: texts, or names of environment variables. None of them is ever shown."""
    if not isinstance(value, Mapping):
        raise WishError(path, f"is {kind(value)}", "give a mapping of names to values, or to {environment: NAME}")
    return {str(name): _credential(key_path(path, name), entry) for name, entry in value.items()}


def _credential(path: str, value: Any) -> str | dict[str, str]:
    if not isinstance(value, Mapping):
        text = one_line(path, str(value) if type(value) in (int, float) else value)
        if not text.isascii():
            raise WishError(path, "holds a character that no header can", "use ASCII")
        return text
    if set(value) != {ENVIRONMENT}:
        raise WishError(path, "is a mapping of something else", "write {environment: NAME}, or the value itself")
    name = value[ENVIRONMENT]
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise WishError(f"{path}.{ENVIRONMENT}", "is no name of a variable", "give its name, without the dollar sign")
    return {ENVIRONMENT: str(name)}


CREDENTIALS = Key(credentials, {"type": "dict", "default": {}, "no_log": True})


def check_names(path: str, source: Mapping[str, Any], sets: tuple[tuple[str, ...], ...], optional: str = "") -> None:
    """Refuse credentials other than one of ``sets``, to which a further name may belong."""
    given = source.get("credentials")
    if not given:
        return
    known = [*dict.fromkeys(name for names in sets for name in names), *([optional] if optional else [])]
    for name in given:
        if name not in known:
            raise unknown_key(f"{path}.credentials", name, "credentials", known)
    if set(given) - {optional} not in [set(names) for names in sets]:
        wanted = ", or ".join(" and ".join(names) for names in sets)
        raise WishError(f"{path}.credentials", "are not complete", f"give {wanted}")


def check_server(path: str, value: str) -> None:
    """Refuse what is not the plain address of a server."""
    parts = address.parts(value)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", value):
        raise WishError(path, "is not a web address", "begin it with https://HOST/ or http://HOST/")
    if address.secret_parts(value):
        raise WishError(path, "holds a user, a query or a fragment", "give the server alone, and credentials beside it")


def name_check(what: str, pattern: str) -> Callable[[str, Any], str]:
    """Return a check of a name, which may be shown."""
    allowed = re.compile(pattern)

    def check(path: str, value: Any) -> str:
        text = one_line(path, str(value) if type(value) is int else value)
        if not allowed.fullmatch(text):
            raise WishError(path, f"cannot be the name of {what}", f"give the name of {what} alone")
        return text

    return check
