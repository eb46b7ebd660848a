# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of all roles are checked together, before the first host is touched."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle, derived, inventory


def refused(*names: str, **values: Any) -> list[str]:
    refusals = Refusals()
    inventory.check([*names, *values], values, refusals)
    return [str(error) for error in refusals.errors]


def test_the_options_of_every_role_are_known_but_for_what_roles_hand_to_one_another():
    assert {"tfserving_version", "jemalloc_package", "fleet_serial"} <= set(inventory.role_options())
    assert "tfserving_plan" in inventory.role_specs()["tfserving"]
    assert "tfserving_plan" not in inventory.role_options()


def test_everything_that_is_wrong_is_said_at_once():
    values = {
        "tfserving_open_files": "many",
        "tfserving_allow_from": ["localhots"],
        "tfserving_tls_key": "KEY",
        "tfserving_registry_credentials": {"docker.io": {"username": "me"}},
    }
    assert refused("tfserving_verison", **values) == [
        "tfserving_verison: is not a variable of this collection; did you mean 'tfserving_version'?",
        "tfserving_open_files: is a string; give a whole number in plain decimal digits",
        "tfserving_allow_from[0]: 'localhots' is neither an address nor a network; did you mean 'localhost'?",
        "tfserving_tls_key: is set and tfserving_tls_certificate is not; set both, or leave both out",
        "tfserving_registry_credentials.docker.io: lacks username or password; give both, the password out of a vault",
    ]


def test_what_is_refused_for_its_kind_is_not_refused_once_more_for_what_it_says():
    (sentence,) = refused(tfserving_allow_from="localhots")
    assert sentence == "tfserving_allow_from: is a string; give a list"


def test_what_ansible_core_alone_refuses_is_refused_in_its_words():
    refusals = Refusals()
    options = {"bundle": {"type": "dict", "options": {"name": {"type": "int"}}}}
    inventory.check_values({"bundle": {"name": "x"}}, options, refusals)
    (error,) = refusals.errors
    assert "'name'" in str(error)
    assert "found in 'bundle'" in str(error)


def test_values_take_the_type_of_their_options_and_the_defaults_of_those_that_are_not_set():
    options = {
        "days": {"type": "int", "default": 30},
        "names": {"type": "list", "default": []},
        "dir": {"type": "path"},
    }
    found = inventory.complete({"days": "7", "dir": "/srv"}, options)
    assert found == {"days": 7, "names": [], "dir": "/srv"}
    assert inventory.complete({}, options)["days"] == 30


def test_an_inventory_without_variables_is_taken():
    assert refused() == []


def test_a_check_leaves_the_specs_of_the_roles_as_they_are():
    before = deepcopy(inventory.role_specs())
    inventory.complete({}, inventory.role_options())
    refusals = Refusals()
    inventory.check_values({}, inventory.role_options(), refusals)
    assert inventory.role_specs() == before


def test_the_planner_is_told_of_what_the_inventory_sets_and_of_the_roles_defaults():
    policy = derived.policy(
        {"tfserving_version": "2.18.0", "kernel_tuning_thp": "never", "kernel_tuning_state": "absent"}
    )
    assert policy["version"] == "2.18.0"
    assert policy["install_method"] == "apt"
    assert policy["releases"]["root"] == "/opt/tfserving/releases"
    assert policy["kernel"] == {"thp": "never"}
    assert policy["tls"] is False
    assert policy["jemalloc"] == {"enabled": True, "preset": "balanced", "conf": {}}


@pytest.mark.parametrize(("method", "suites"), [("apt", ["stable"]), ("image", None)])
def test_only_servers_from_a_repository_have_an_entry_of_apt(method, suites):
    servers = derived.servers(
        {"tfserving_install_method": method, "tfserving_instances": [{"name": "a b"}, {"name": "c"}]}
    )
    assert servers["repository"].get("suites") == suites
    assert servers["group"] == "tfserving"
    # The plan is going to refuse the other name, so it is nobody's account.
    assert servers["instances"] == ["c"]


@pytest.mark.parametrize(
    ("gpus", "state", "lacks"),
    [
        (1, "present", True),
        ("all", "present", True),
        (0, "present", False),
        ([], "present", False),
        (1, "unmanaged", False),
    ],
)
def test_a_bundle_says_that_it_lacks_the_driver_where_gpus_are_to_be_used(gpus, state, lacks):
    values = {"tfserving_instances": [{"name": "a", "gpus": gpus}], "nvidia_driver_state": state}
    assert derived.bundle(values)["lacks_driver"] is lacks


def test_a_bundle_is_asked_for_what_the_inventory_names_and_the_roles_have_by_default():
    wish = derived.bundle({"tfserving_version": "2.18.0"}, ["gdb"])
    found = bundle.needs({"a": wish})
    assert ["tensorflow-model-server=2.18.0*"] in found["packages"]
    assert ["gdb"] in found["packages"]
    assert ["libjemalloc2"] in found["packages"]
    assert [each["uri"] for each in found["repositories"]] == ["https://storage.googleapis.com/tensorflow-serving-apt"]
