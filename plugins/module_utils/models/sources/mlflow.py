# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Registered models of an MLflow server, from which the controller fetches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import WishError
from . import controller
from .row import Key, Source
from .servers import CREDENTIALS, check_names, check_server, name_check

# MLflow itself refuses only these two signs in names of models; a query carries the rest.
_NAME = r"[^/:]{1,250}"


def _check(path: str, source: Mapping[str, Any]) -> None:
    check_server(f"{path}.uri", source["uri"])
    check_names(path, source, (("token",), ("username", "password")))
    if not source.get("model"):
        problem = "is missing"
        raise WishError(f"{path}.model", problem, "give the name of the registered model")


def _check_wish(path: str, wish: Mapping[str, Any]) -> None:
    if "{version}" in wish["uri"]:
        problem = "holds {version}, which an address of a registry has no use for"
        raise WishError(f"{path}.uri", problem, "leave it out: version is the registry's own number")


MLFLOW = Source(
    type="mlflow",
    keys={
        "model": Key(name_check("a registered model", _NAME), {"type": "str"}),
        "alias": Key(name_check("an alias", _NAME), {"type": "str"}),
        "credentials": CREDENTIALS,
    },
    secret=("credentials",),
    kept=("credentials",),
    check=_check,
    check_wish=_check_wish,
    several=lambda source: not source.get("alias"),
    one_alone=("alias", "is one name for", "leave it out: the registry's versions go by their numbers"),
    sent=True,
    imported=True,
    obtain=controller.obtain,
)
