# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host's part of a bundle: packages with their index, keys, and the image to unpack."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from ..disk import durable, folders
from . import manifest as bundle_manifest
from . import names as bundle_names
from . import parcel as bundle_parcel
from .packages import INDEX

LISTS = "apt/lists"


def keep(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Bring the host's part in line; without a parcel, return the missing files as ``needs``.

    In check mode only the index is brought: without it apt could not tell what it would install.
    """
    root = params["root"]
    files = [file for file in params["files"] if not (file["unless"] and os.path.exists(file["unless"]))]
    lacks = bundle_parcel.lacking(root, files, remember=True)
    due = [path for path in lacks if os.path.basename(path) == INDEX] if check else lacks
    if due and not params["parcel"]:
        return {"changed": False, "needs": due}
    if due:
        bundle_parcel.unpack(params["parcel"], root, [file for file in files if file["path"] in due])
    laid = _lay_down(root, bundle_names.apt_files(params["release"], root))
    if due or laid:
        # apt takes an index that it has already read for current.
        shutil.rmtree(os.path.join(root, LISTS), ignore_errors=True)
    folders.make(os.path.join(root, LISTS, "partial"))
    gone = False
    if not check:
        gone = bundle_manifest.prune(root, [file["path"] for file in params["files"]])
        # Files brought only to be unpacked have served their purpose; their removal does not count as a change.
        bundle_manifest.prune(root, [file["path"] for file in files])
    return {"changed": bool(lacks) or laid or gone, "brought": due, "refresh": not _read_before(root)}


def _lay_down(root: str, texts: Mapping[str, str]) -> bool:
    changed = False
    for path, text in texts.items():
        place = os.path.join(root, path)
        folders.make(os.path.dirname(place))
        if _text(place) != text:
            durable.write(place, text.encode())
            changed = True
    return changed


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _read_before(root: str) -> bool:
    return any(name.endswith(f"_{INDEX}") for name in os.listdir(os.path.join(root, LISTS)))
