# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables that begin like those of the collection: misspelt ones, removed ones, and the users' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import variables as variable_names
from repository import REPOSITORY

ROLES = REPOSITORY / "roles"
KNOWN = {name for options in inventory.role_specs().values() for name in options}
PREFIXES = [f"{role}_" for role in inventory.role_specs()]


def judged(*names: str) -> dict[str, list[str]]:
    refused, ignored = inventory.unknown(names)
    return {"refused": [str(error) for error in refused], "ignored": ignored}


def test_known_variables_and_what_roles_leave_behind_are_no_cause_for_complaint():
    assert judged(*KNOWN, *inventory.FACTS) == {"refused": [], "ignored": []}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tfserving_verison", "tfserving_version"),
        ("tfserving_model", "tfserving_models"),
        ("tfserving_root_model", "tfserving_model_root"),
        ("tfserving_allow_form", "tfserving_allow_from"),
        ("tfserving_install_methode", "tfserving_install_method"),
        ("tfserving_branch", "nvidia_driver_branch"),
        ("nvidia_driver_reboot_okay", "nvidia_driver_reboot_ok"),
        ("model_repository_ownr", "model_repository_owner"),
    ],
)
def test_a_near_miss_is_refused_with_the_name_that_was_meant(name, meant):
    sentence = f"{name}: is not a variable of this collection; did you mean '{meant}'?"
    assert judged(name) == {"refused": [sentence], "ignored": []}


@pytest.mark.parametrize(
    "name",
    ["tfserving_team", "tfserving_models_common", "tfserving_ranker_version", "nvidia_driver_notes", "tfserving_x"],
)
def test_a_name_of_the_users_own_is_only_named_and_told_of_the_prefix(name):
    sentence = (
        f"{name}: is not a variable of this collection and does nothing by itself; "
        "begin the names of your own variables with my_"
    )
    assert judged(name) == {"refused": [], "ignored": [sentence]}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tf_serving_models", "tfserving_models"),
        ("TFSERVING_MODELS", "tfserving_models"),
        ("tfservng_allow_from", "tfserving_allow_from"),
        ("nvidia_drivers_branch", "nvidia_driver_branch"),
        ("kernel_tunning_sysctl", "kernel_tuning_sysctl"),
        ("hostplan_policy", "host_plan_policy"),
    ],
)
def test_a_slip_in_the_prefix_is_named_with_what_was_meant_and_not_refused(name, meant):
    sentence = f"{name}: is not a variable of this collection and does nothing by itself; did you mean '{meant}'?"
    assert judged(name) == {"refused": [], "ignored": [sentence]}


@pytest.mark.parametrize(
    "name",
    ["models", "tensorflow_models", "serving_version", "my_tfserving_models", "driver_branch", "groups", "x" * 9000],
)
def test_other_peoples_names_are_nobodys_business(name):
    assert judged(name) == {"refused": [], "ignored": []}


@pytest.mark.parametrize("name", ["tfserving_model_status", "tfserving_versions_result", "jemalloc_due"])
def test_no_ending_excuses_a_name(name):
    assert sum(map(len, judged(name).values())) == 1


def test_a_removed_variable_is_refused_with_what_to_do_instead():
    sentence = "tfserving_farm: is no longer a variable of this collection; leave it out; there is one barn"
    removed = {"tfserving_farm": "leave it out; there is one barn"}
    assert [str(each) for each in variable_names.refusals(["tfserving_farm"], KNOWN, PREFIXES, removed)] == [sentence]
    assert variable_names.warnings(["tfserving_farm"], KNOWN, PREFIXES, removed) == []


def test_the_account_that_all_servers_shared_is_no_wish_any_more():
    assert judged("tfserving_user")["refused"] == [
        "tfserving_user: is no longer a variable of this collection; remove it; each instance has an account of its"
        " own, and tfserving_group is what they share"
    ]


def test_no_variable_is_both_documented_and_removed():
    assert not KNOWN & set(variable_names.REMOVED)


def test_what_roles_leave_behind_is_listed():
    left = {name for path in ROLES.glob("*/*/*.yml") for name in facts(yaml.safe_load(path.read_text()))}
    # And what plays read of a role that they import.
    left |= {name for path in ROLES.glob("*/vars/main.yml") for name in yaml.safe_load(path.read_text()) or ()}
    left = {name for name in left if name.startswith(tuple(PREFIXES))}
    assert left - KNOWN == inventory.FACTS


def facts(part: Any) -> Iterator[str]:
    """Every name that tasks register or set."""
    if isinstance(part, list):
        for each in part:
            yield from facts(each)
    elif isinstance(part, dict):
        if isinstance(part.get("register"), str):
            yield part["register"]
        yield from part.get("ansible.builtin.set_fact", {})
        yield from facts([value for value in part.values() if isinstance(value, (dict, list))])


def test_the_removed_root_of_the_configuration_says_where_it_is():
    (sentence,) = variable_names.refusals(["tfserving_config_root"], [], ["tfserving_"])
    assert str(sentence) == (
        "tfserving_config_root: is no longer a variable of this collection;"
        " remove it; the files of the instances are always in /etc/tfserving"
    )
