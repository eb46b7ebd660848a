# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle on the controller: verified, and packed for hosts, once for all of a run.

``cache`` is Ansible's temporary directory of this run, which all of its workers share.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest, parcel
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.names import BUNDLE
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..turn import turn


def verified(directory: str, cache: str) -> dict[str, dict[str, Any]]:
    """Return a bundle's artifacts by path; raises WishError for a bundle that is incomplete or changed."""
    try:
        return _verified(directory, cache)
    except OSError as error:
        raise WishError(BUNDLE, f"{directory} cannot be read ({error})", "make it readable") from error


def _verified(directory: str, cache: str) -> dict[str, dict[str, Any]]:
    note = os.path.join(cache, f"tfserving-bundle-{_key(directory)}")
    with turn(f"{note}.lock"):
        if os.path.exists(note):
            return manifest.read(directory)
        artifacts = manifest.verified(directory)
        with open(note, "w", encoding="ascii"):
            return artifacts


def packed(directory: str, paths: Sequence[str], cache: str) -> str:
    """Return the tar with these files of a bundle; hosts that lack the same ones share it."""
    tar = os.path.join(cache, f"tfserving-bundle-{_key(directory, *paths)}.tar")
    with turn(f"{tar}.lock"):
        if not os.path.exists(tar):
            parcel.pack(directory, paths, f"{tar}.part")
            os.replace(f"{tar}.part", tar)
    return tar


def _key(*names: str) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()
