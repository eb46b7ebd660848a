# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the roll-outs of a model: the version before, and which versions were reverted.

The record is the state of the last roll-out (plugin_utils/rollout/state.py), of which only a part is read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..disk.plain_files import fits
from ..disk.record import Record
from ..errors import WishError
from ..saved_model.version_names import MAX_VERSION
from ..visible_text import told
from .names import MODEL_NAME

FOLDER = "/var/lib/tfserving-fleet/rollout"
SCHEMA = 1
# One file for each, read in one call.
MOST_MODELS = 1000
MOST_REVERTED = 100
LONGEST_REASON = 400
REMEDY = "move it away and run again; with it goes what it says of versions that were reverted"


def _is_version(value: Any) -> bool:
    return fits(value, int) and 1 <= value <= MAX_VERSION


def _is_key(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 20 and name[0] != "0" and _is_version(int(name))


def _are_reverted(value: Any) -> bool:
    return fits(value, {str: {"reason": str}}) and len(value) <= MOST_REVERTED and all(map(_is_key, value))


SHAPE = {"schema": int, "generation": int, "revision": int, "old": _is_version, "reverted": _are_reverted}


def record(model: str, folder: str = FOLDER) -> Record:
    """Return the record of a model. Raises WishError for a name that cannot be a file's."""
    if not MODEL_NAME.fullmatch(model):
        raise WishError("rollouts", f"{model!r} cannot be a model", "use letters, digits, '_', '-' and '.'")
    return Record(os.path.join(folder, f"{model}.json"), SHAPE, REMEDY, schema=SCHEMA)


def read(models: Iterable[str], folder: str = FOLDER) -> dict[str, dict[str, Any]]:
    """Return what is remembered of each model that has a record. Raises WishError for a damaged one.

    Each has ``age``, which grows with every write, ``old``, the version before, and ``reverted``, the reason for each
    reverted version; versions are text there, as in JSON. A damaged record is never taken for none: it may hold a
    version that must not come back.
    """
    names = list(models)
    if len(names) > MOST_MODELS:
        raise WishError("rollouts", f"names {len(names)} models", f"give at most {MOST_MODELS}")
    found = {name: record(name, folder).load() for name in names}
    return {name: _known(value) for name, value in found.items() if value is not None}


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    reverted = {version: told(bad["reason"], LONGEST_REASON) for version, bad in value["reverted"].items()}
    return {"age": [value["generation"], value["revision"]], "old": value["old"], "reverted": reverted}
