# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/plan-schema.md names what plans and policies hold."""

from __future__ import annotations

import re
from typing import get_type_hints

import pytest
import typed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.schema import InstancePlan, ModelPlan, Plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from repository import REPOSITORY

SCHEMA = (REPOSITORY / "docs" / "plan-schema.md").read_text(encoding="utf-8")


def leaves(settings, prefix=""):
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


# The headings of the tables, and the types that they explain.
PARTS = {"The host": Plan, "An instance": InstancePlan, "A model": ModelPlan}


def rows(heading):
    """Yield the paths that each row of a table explains, and what it says of them."""
    section = SCHEMA.split(f"## {heading}\n")[1].split("\n## ")[0]
    for keys, meaning in re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.M):
        first = ""
        paths = []
        for name in re.findall(r"`([^`]+)`", keys):
            first = name.rpartition(".")[0] or first
            paths.append(f"{first}{name}" if name.startswith(".") else name)
        yield paths, meaning


def type_at(part, path):
    for key in path.split("."):
        part = get_type_hints(part)[key]
    return part


@pytest.mark.parametrize("heading", PARTS)
def test_every_key_of_a_plans_types_is_explained_and_no_other(heading):
    explained = [path for paths, _meaning in rows(heading) for path in paths]
    assert {path.partition(".")[0] for path in explained} == set(get_type_hints(PARTS[heading]))
    assert len(set(explained)) == len(explained)
    for path in explained:
        type_at(PARTS[heading], path)  # KeyError where there is none


@pytest.mark.parametrize("heading", PARTS)
def test_what_may_be_null_is_said_to_be(heading):
    for paths, meaning in rows(heading):
        optional = [path for path in paths if type(None) in typed.options(type_at(PARTS[heading], path))]
        assert bool(optional) == ("null" in meaning), (paths, optional)


@pytest.mark.parametrize("path", list(leaves(plan_policy.DEFAULTS)))
def test_every_setting_of_the_policy_is_explained(path):
    first, *rest = path.split(".")
    assert f"`{first}" in SCHEMA
    assert all(
        f".{key}`" in SCHEMA or f".{key}." in SCHEMA for key in rest if key not in plan_policy.DEFAULTS["profiles"]
    )
