# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the roll-outs of a model: what it served before, and which versions were reverted."""

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
# A roll-out keeps its figures in the same file.
MOST_BYTES = 1 << 18
# One file for each, read in one call.
MOST_MODELS = 1000
MOST_REVERTED = 100
MOST_VERSIONS = 100
LONGEST_REASON = 300
REMEDY = "move it away and run again; with it goes what it says of versions that were reverted"


def _is_version(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_VERSION


def _is_key(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 20 and name[0] != "0" and _is_version(int(name))


def _are_reasons(value: Any) -> bool:
    return fits(value, {str: str}) and len(value) <= MOST_REVERTED and all(map(_is_key, value))


def _are_versions(value: Any) -> bool:
    return fits(value, [_is_version]) and 1 <= len(value) <= MOST_VERSIONS


# Other keys are those of the roll-out itself.
SHAPE = {
    "schema": int,
    "previous?": {"versions": _are_versions, "labels?": {str: _is_version}},
    "reverted?": _are_reasons,
}


def record(model: str, folder: str = FOLDER) -> Record:
    """Return the record of a model. Raises WishError for a name that cannot be a file's."""
    if not MODEL_NAME.fullmatch(model):
        raise WishError("rollouts", f"{model!r} cannot be a model", "use letters, digits, '_', '-' and '.'")
    return Record(os.path.join(folder, f"{model}.json"), SHAPE, REMEDY, schema=SCHEMA, most=MOST_BYTES)


def read(models: Iterable[str], folder: str = FOLDER) -> dict[str, dict[str, Any]]:
    """Return ``previous`` and ``reverted`` of each model that has a record. Raises WishError for a damaged one.

    ``reverted`` has versions as text, as JSON does. A damaged record is never taken for none: it may hold a version
    that must not come back.
    """
    names = list(models)
    if len(names) > MOST_MODELS:
        raise WishError("rollouts", f"names {len(names)} models", f"give at most {MOST_MODELS}")
    found = {name: record(name, folder).load() for name in names}
    return {name: _known(value) for name, value in found.items() if value is not None}


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    reverted = {version: told(reason, LONGEST_REASON) for version, reason in value.get("reverted", {}).items()}
    before = value.get("previous")
    previous = {"versions": before["versions"], "labels": before.get("labels", {})} if before else {}
    return {"previous": previous, "reverted": reverted}
