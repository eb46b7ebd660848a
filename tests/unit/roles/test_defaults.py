# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Python and the roles' argument specs name the same defaults, and each names them in one place."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from repository import REPOSITORY

VARIABLES = {
    "tfserving_version": defaults.VERSION,
    "tfserving_apt_package": defaults.PACKAGE,
    "tfserving_release_root": defaults.RELEASES,
    "tfserving_model_root": defaults.MODELS,
}


def specs():
    """Return the option of each role that has one of these variables, with the role."""
    for path in sorted(REPOSITORY.glob("roles/*/meta/argument_specs.yml")):
        options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        for name, option in options.items():
            if name in VARIABLES:
                yield path.parts[-3], name, option


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_spec_of_a_role_has_the_default_of_python(variable):
    found = [option["default"] for _role, name, option in specs() if name == variable and "default" in option]
    assert found == [VARIABLES[variable]]


def test_no_other_python_repeats_a_path():
    """Documentation and examples apart, which repeat them by nature."""
    paths = [defaults.RELEASES, defaults.MODELS, defaults.CONFIG]
    quoted = re.compile("|".join(f'"{path}"' for path in paths))
    files = [path for path in REPOSITORY.glob("plugins/**/*.py") if path.name != "defaults.py"]
    assert files
    assert [path for path in files if quoted.search(path.read_text())] == []


def test_no_role_repeats_a_default_of_another():
    fallback = re.compile("|".join(rf"default\(.{re.escape(value)}." for value in VARIABLES.values()))
    files = [path for folder in ("roles", "playbooks") for path in (REPOSITORY / folder).rglob("*.yml")]
    assert files
    assert [path for path in files if fallback.search(path.read_text())] == []
