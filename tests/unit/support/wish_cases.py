# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Short ways to have wishes read, with one model unless told otherwise."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from planner_cases import model

DIGEST = "ab" * 32
HTTP = {"type": "http", "uri": "https://models.example.com/{version}.tar", "sha256": DIGEST}


def read(instances: Any, models: Any = None) -> wishes.Wishes:
    """Return the checked wishes."""
    return wishes.read(instances, models or [model()], plan_policy.complete({}))


def problems(instances: Any = None, models: Any = None) -> list[str]:
    """Return every refusal as a sentence."""
    return wishes.problems(instances, models or [model()])
