# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a builder is asked to fetch, and the folder on the controller that takes it."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import parcel
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..wishes import bundle


def arguments(wishes: Mapping[str, Mapping[str, Any]], only_packages: bool) -> dict[str, Any]:
    """Return what the module is to fetch. Headers are no part of the downloads but a text of their own."""
    needs = bundle.needs(wishes)
    if only_packages:
        needs.update(images=[], downloads=[])
    headers = {wish["path"]: wish.pop("headers") for wish in needs["downloads"]}
    secret = base64.b64encode(json.dumps(headers).encode()).decode() if any(headers.values()) else ""
    return {**needs, "headers": secret}


@contextmanager
def writing(directory: str) -> Iterator[None]:
    """Refuse a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise WishError("bundle_dir", f"{directory} cannot be written ({error})", "choose another place") from error


def unpack(tar: str, directory: str, artifacts: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> None:
    """Put the files at ``paths`` in place, and remove the tar that they came in."""
    parcel.unpack(tar, directory, [entry for entry in artifacts if entry["path"] in paths])
    os.unlink(tar)
