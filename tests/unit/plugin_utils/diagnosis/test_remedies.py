# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Remedies: whatever they name of this collection is there, by that name."""

from __future__ import annotations

import re
from functools import cache

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flags import known_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.instances import BATCHING_FIELDS
from repository import REPOSITORY

ROLES = REPOSITORY / "roles"
PREFIXES = sorted(path.name for path in ROLES.iterdir())
VARIABLE = re.compile(rf"\b(?:{'|'.join(PREFIXES)}|diagnosis)_[a-z0-9_]+\b")
NAMED = [pytest.param(fault.remedy, id=fault.id) for fault in faults()]


@cache
def variables():
    """Return the variables of all roles."""
    specs = [yaml.safe_load(path.read_text()) for path in ROLES.glob("*/meta/argument_specs.yml")]
    return {name for spec in specs for point in spec["argument_specs"].values() for name in point.get("options", {})}


def unknown_names(text):
    """Return the names of variables, playbooks, their variables, units and wishes in a remedy that do not exist."""
    found = [name for name in VARIABLE.findall(text) if name not in variables()]
    found += [name for name in re.findall(r"playbooks/\w+\.yml", text) if not (REPOSITORY / name).is_file()]
    for playbook, options in re.findall(r"(playbooks/\w+\.yml)([^;]*)", text):
        if (REPOSITORY / playbook).is_file():
            head = (REPOSITORY / playbook).read_text()
            found += [
                name for name in re.findall(r"-e (\w+)=", options)
                if name not in variables() and not re.search(rf"^#.*\b{name}\b", head, re.MULTILINE)
            ]  # fmt: skip
    units = {path.name.removesuffix(".j2") for path in ROLES.rglob("*.service.j2")}
    found += [unit for unit in re.findall(r"tfserving-[a-z-]+\.service", text) if unit not in units]
    return [*found, *unknown_wishes(text)]


def unknown_wishes(text):
    """Return the keys of instances and models in a remedy that docs/wishes.md does not describe."""
    spans = re.findall(r"`([^`\n]+)`", (REPOSITORY / "docs" / "wishes.md").read_text())
    told = {word for span in spans for word in re.findall(r"\w+", span)}
    known = {*told, *BATCHING_FIELDS, *known_flags("2.19.1")}
    keys = [key for value in re.findall(r"tfserving_(?:instances|models): \[(\{.*?\})\](?:;|$)", text)
            for key in re.findall(r"([a-z]\w*): ", value)]  # fmt: skip
    return [key for key in (*keys, *re.findall(r"tfserving_(?:instances|models)\[\]\.(\w+)", text)) if key not in known]


@pytest.mark.parametrize("remedy", NAMED)
def test_all_that_a_remedy_names_exists(remedy):
    assert unknown_names(f"{remedy.text} ; {remedy.command}") == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kernel_tuning_governer: performance", "kernel_tuning_governer"),
        ("ansible-playbook playbooks/mend.yml", "playbooks/mend.yml"),
        ("ansible-playbook playbooks/tune.yml -e instances=ranker", "instances"),
        ("systemctl restart tfserving-irq.service", "tfserving-irq.service"),
        ("tfserving_instances[].wait", "wait"),
        ("tfserving_instances: [{name: INSTANCE, batching: {max_queue: 3}}]", "max_queue"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(text, name):
    assert unknown_names(text) == [name]
