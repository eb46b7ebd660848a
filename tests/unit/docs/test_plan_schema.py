# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/plan-schema.md names what plans and policies hold."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from planner_cases import IMAGE, box, instance, plan
from repository import REPOSITORY

SCHEMA = (REPOSITORY / "docs" / "plan-schema.md").read_text(encoding="utf-8")

PLAN = plan(box(), [instance(gpus=1)], **IMAGE)


def leaves(settings, prefix=""):
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("part", [PLAN, PLAN["instances"][0], PLAN["models"][0]], ids=["host", "instance", "model"])
def test_every_key_of_a_plan_is_explained(part):
    assert [key for key in part if f"`{key}`" not in SCHEMA and f"`{key}." not in SCHEMA] == []


@pytest.mark.parametrize("path", list(leaves(plan_policy.DEFAULTS)))
def test_every_setting_of_the_policy_is_explained(path):
    first, *rest = path.split(".")
    assert f"`{first}" in SCHEMA
    assert all(
        f".{key}`" in SCHEMA or f".{key}." in SCHEMA for key in rest if key not in plan_policy.DEFAULTS["profiles"]
    )
