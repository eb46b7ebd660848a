# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of all roles are checked together, before the first host is touched."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.filter.role_options import role_options
from ansible_collections.tfserving.fleet.plugins.filter.unknown_variables import unknown_variables


def spec(**options: dict) -> dict:
    return {"argument_specs": {"main": {"options": options}}}


SPECS = [
    spec(tfserving_version={"type": "str"}, tfserving_plan={"type": "dict", "required": True}),
    spec(jemalloc_package={"type": "str"}),
]


def test_options_of_all_roles_stand_side_by_side():
    assert set(role_options(SPECS)) == {"tfserving_version", "jemalloc_package"}


def test_what_roles_hand_to_one_another_is_not_asked_of_the_user():
    assert "tfserving_plan" not in role_options(SPECS)


def test_known_variables_are_no_cause_for_complaint():
    assert unknown_variables(["tfserving_version", "tfserving_plan", "jemalloc_package"], SPECS) == []


def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant():
    sentence = "tfserving_verison: is not a variable of this collection; did you mean 'tfserving_version'?"
    assert unknown_variables(["tfserving_version", "tfserving_verison"], SPECS) == [sentence]


def test_a_variable_like_no_other_is_refused_too():
    assert unknown_variables(["model_repository_x"], SPECS) == [
        "model_repository_x: is not a variable of this collection; remove it"
    ]
