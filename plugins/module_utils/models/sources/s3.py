# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Archives and folders in a bucket of S3 or of a store that speaks its language; the controller fetches from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import WishError
from ...scalars import boolean
from . import controller
from .row import Key, Source
from .servers import CREDENTIALS, check_names, check_server, name_check

# The bucket, and a key that can stand in an address as it is; a folder ends in a slash.
URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^?#@\\]+)")


def _check(path: str, source: Mapping[str, Any]) -> None:
    found = URI.fullmatch(source["uri"])
    if not found or any(part in ("", ".", "..") for part in found["key"].removesuffix("/").split("/")):
        raise WishError(
            f"{path}.uri",
            "is not the place of a model in a bucket",
            "write s3://BUCKET/FOLDER/ for a SavedModel, or s3://BUCKET/KEY for an archive",
        )
    if source.get("endpoint") is not None:
        check_server(f"{path}.endpoint", source["endpoint"])
    check_names(path, source, (("access_key", "secret_key"),), optional="session_token")


def _text(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise WishError(path, "is not a web address", "begin it with https://HOST/ or http://HOST/")
    return value


S3 = Source(
    type="s3",
    keys={
        "endpoint": Key(_text, {"type": "str"}),
        "region": Key(name_check("a region", r"[a-z0-9-]{1,64}"), {"type": "str"}),
        "path_style": Key(boolean, {"type": "bool"}),
        "credentials": CREDENTIALS,
    },
    secret=("credentials",),
    kept=("credentials",),
    check=_check,
    sent=True,
    imported=True,
    obtain=controller.obtain,
)
