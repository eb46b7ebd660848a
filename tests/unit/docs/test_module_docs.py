# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What modules say of their options, against what they take."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from repository import REPOSITORY

NAMES = sorted(path.stem for path in (REPOSITORY / "plugins" / "modules").glob("[!_]*.py"))
PACKAGE = "ansible_collections.tfserving.fleet.plugins.modules"
COMPARED = ("type", "elements", "required", "default", "choices")


class Taken(Exception):  # noqa: N818 - not a defect: what a module asks its framework for, on its way out
    """The argument spec of a module."""


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """All modules as ansible-doc tells of them, with what they share."""
    names = [f"tfserving.fleet.{name}" for name in NAMES]
    shown = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--json", "--type", "module", *names],
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)


def taken(name: str, monkeypatch) -> dict[str, Any]:
    module = importlib.import_module(f"{PACKAGE}.{name}")

    def caught(argument_spec: dict[str, Any], add_file_common_args: bool = False, **_others: Any) -> None:
        raise Taken({**(FILE_COMMON_ARGUMENTS if add_file_common_args else {}), **argument_spec})

    monkeypatch.setattr(module, "AnsibleModule", caught)
    with pytest.raises(Taken) as spec:
        module.main()
    return spec.value.args[0]


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options without their texts, and with what is meant where nothing is said."""
    return {name: {"type": "str", **_said(option)} for name, option in options.items()}


def _said(option: dict[str, Any]) -> dict[str, Any]:
    said = {key: option[key] for key in COMPARED if option.get(key) not in (None, False)}
    nested = option.get("suboptions") or option.get("options")
    return {**said, "options": plain(nested)} if nested else said


@pytest.mark.parametrize("name", NAMES)
def test_a_modules_documentation_has_exactly_the_options_that_it_takes(name, documents, monkeypatch):
    module = importlib.import_module(f"{PACKAGE}.{name}")
    if not hasattr(module, "main"):
        # Documentation alone: its action plugin does the work on the controller.
        assert (REPOSITORY / "plugins" / "action" / f"{name}.py").exists()
        return
    documented = plain(documents[f"tfserving.fleet.{name}"]["doc"].get("options", {}))
    options = plain(taken(name, monkeypatch))
    for option, spec in options.items():
        if spec.get("elements") == "raw":  # checked by the module itself, whose refusals say more
            spec.update({key: documented[option][key] for key in ("elements", "options") if key in documented[option]})
    assert documented == options
