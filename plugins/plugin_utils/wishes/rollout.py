# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The roll-out of a model: how its next version gets its traffic."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars

from . import checks as fields

FIELDS: dict[str, fields.Check] = {"retry": scalars.boolean}


def rollout(path: str, value: Any) -> dict[str, Any]:
    """Check the roll-out of a model."""
    return fields.fields(path, value, "a roll-out", FIELDS)
