# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wishes of each role: refused before any host is changed, or taken."""

from __future__ import annotations

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes

SECRET = "Tr0ub4dor"


def test_mirrors_and_repositories_may_be_of_the_host_itself():
    role_wishes.check(
        {
            "nvidia_driver_repository_uri": "file:/opt/vendor",
            "nvidia_driver_key_url": "/opt/vendor/key.pub",
            "tfserving_apt_repository_uri": "https://mirror.example/apt",
            "tfserving_registry_mirrors": ["http://localhost:5000", "mirror.example.com/hub"],
        }
    )
    with pytest.raises(WishError, match=r"^nvidia_driver_repository_uri: holds a character that units or commands"):
        role_wishes.check({"nvidia_driver_repository_uri": "file:/opt/a b"})


LISTED = {
    "nvidia_driver_hold_kernel": {"type": "bool"},
    "cpu_partition_boot": {"type": "list", "elements": "str", "choices": ["managed_irq", "nohz_full"]},
}
HALVES = {"name": "halves", "devices": [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.5gb+me": 2}}]}


@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        # A template takes the text 'no' for a truth, and a condition takes no text at all.
        (
            "nvidia_driver_hold_kernel",
            "no",
            "is a string; give true or false without quotes, and on a command line as JSON: -e '{\"name\": true}'",
        ),
        ("cpu_partition_boot", [f"{SECRET}!"], "[0]: is a string; choose one of managed_irq, nohz_full"),
        ("cpu_partition_boot", ["nohz_ful"], "[0]: is the string 'nohz_ful'; did you mean 'nohz_full'?"),
        ("cpu_partition_boot", [{SECRET: 1}], "[0]: is a mapping; give a text"),
        ("nvidia_driver_mig", {"name": "halves"}, "lacks its name or its devices; give both, or leave it empty"),
        ("nvidia_driver_mig", {**HALVES, "nam": 1}, "nam: is not a key of a geometry; did you mean 'name'?"),
        (
            "nvidia_driver_mig",
            {**HALVES, "name": "a: b"},
            "name: is a string; use letters, digits and . _ + -, in quotes",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "name": 5},
            "name: is the number 5; use letters, digits and . _ + -, in quotes",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": "all"},
            "devices: is a string; give a list of mappings, as mig-parted knows it",
        ),
        # A template that indents lines takes such a sign for the end of one.
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-devices": {"\u2028": 1}}]},
            "devices[0].mig-devices: is a string; use what mig-parted knows, such as all, 0x233010DE or 3g.40gb",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-devices": {"3g.40gb": "2"}}]},
            "devices[0].mig-devices.(a key): is the string '2'; write it without quotes, and end a template in '| int'"
            " or '| bool'",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-enabled": "true"}]},
            "devices[0].mig-enabled: is the string 'true'; write it without quotes, and end a template in '| int' or"
            " '| bool'",
        ),
        ("nvidia_driver_gpu_settings", None, "is nothing; give a list of mappings"),
        ("cpu_partition_boot", [None], "[0]: is nothing; choose one of managed_irq, nohz_full"),
        (
            "nvidia_driver_version",
            "abc",
            "is the string 'abc'; write it in quotes, as in 580.95.05, or leave it empty",
        ),
        ("model_repository_owner", "a b", "is a string; name an account, or its number in quotes"),
        # What YAML makes of an unquoted 0755.
        ("model_repository_directory_mode", 493, "is the number 493; write it in quotes, as in '0755'"),
        ("model_repository_file_mode", "rw-r--r--", "is the string 'rw-r--r--'; write it in quotes, as in '0644'"),
        ("jemalloc_package", "a b", "is a string; use letters, digits and . _ / + ~ -"),
        (
            "model_repository_headers",
            {"Authorization": f"Bearer {SECRET}\n"},
            "Authorization: holds a line break or another control character; give a text on one line",
        ),
        (
            "model_repository_headers",
            {f"Authorization: Bearer {SECRET}": None},
            "holds a name, the 1. one, that no header can have; write 'Name: value'",
        ),
        ("model_repository_headers", {"X-Token": [SECRET]}, "X-Token: is a list; give a text on one line"),
    ],
)
def test_what_a_role_would_stumble_over_on_the_host_is_refused_before_any_host_is_changed(name, value, refusal):
    with pytest.raises(WishError) as refused:
        role_wishes.check({name: value}, LISTED)
    sentence = str(refused.value)
    assert sentence.startswith(name)
    assert sentence[len(name) :].lstrip(".: ") == refusal
    assert SECRET not in sentence


OPTIONS = inventory.role_options()


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_variable_without_a_value_never_comes_before_ansible_cores_own_check(name):
    spec = {name: {key: value for key, value in OPTIONS[name].items() if key != "description"}}
    if OPTIONS[name].get("default") is None:
        assert ArgumentSpecValidator(spec).validate({name: None}).error_messages == []
    else:
        with pytest.raises(WishError) as refused:
            role_wishes.check({name: None}, OPTIONS)
        assert str(refused.value) == f"{name}: is nothing; give it a value, or remove it and its default holds"


def test_what_roles_take_passes():
    role_wishes.check(
        {
            "nvidia_driver_hold_kernel": True,
            "cpu_partition_boot": ["managed_irq"],
            "nvidia_driver_mig": HALVES,
            "nvidia_driver_branch": 580,
            "nvidia_driver_version": "535.261.03-1~deb12u1",
            "model_repository_owner": "0",
            "model_repository_group": "model-servers",
            "model_repository_directory_mode": "u=rwx,g=rx,o=",
            "model_repository_file_mode": "0640",
        },
        LISTED,
    )
