# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of all roles are checked together, before the first host is touched."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.filter.role_options import role_options


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
