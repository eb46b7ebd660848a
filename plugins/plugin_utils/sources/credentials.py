# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Credentials of the controller for the servers that it fetches models from."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources.servers import ENVIRONMENT


def resolved(source: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials of a checked source by name, those of the environment read."""
    given = source.get("credentials") or {}
    return {name: value if isinstance(value, str) else _of(name, value, environ) for name, value in given.items()}


def _of(name: str, reference: Mapping[str, str], environ: Mapping[str, str]) -> str:
    variable, key = reference[ENVIRONMENT], f"source.credentials.{name}"
    value = environ.get(variable, "")
    if not value:
        problem = f"the environment variable {variable} is not set on the controller"
        raise RefusalError(problem, "export it where ansible-playbook runs", key)
    if not (value.isascii() and value.isprintable()):
        problem = f"the environment variable {variable} holds a sign that no header can"
        raise RefusalError(problem, "check its value for line breaks", key)
    return value


def header(credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the header that carries a token, or a name and a password; none where there are none."""
    if "token" in credentials:
        return {"Authorization": f"Bearer {credentials['token']}"}
    if "username" in credentials:
        pair = f"{credentials['username']}:{credentials['password']}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
