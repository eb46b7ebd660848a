# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which account an instance gets, and which groups and accounts of a host are left to whom they belong."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.filter.instance_account import instance_account
from ansible_collections.tfserving.fleet.plugins.module_utils.host import accounts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.accounts import Account, Group
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal

REMEDY = "; leave tfserving_group out, or name a group that is the servers' alone"
OURS = Account("tfserving", 998, 997, "TensorFlow Serving", "/usr/sbin/nologin")
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}", fullmatch=True)


def test_an_instance_runs_as_an_account_of_its_own_name():
    assert instance_account("ranker") == "tfserving-ranker"
    assert instance_account("ranker", "tfhealth") == "tfhealth-ranker"


@given(NAMES, NAMES)
def test_two_instances_never_share_an_account_and_systemd_takes_every_name(one, other):
    names = {instance_account(name, prefix) for name in {one, other} for prefix in ("tfserving", "tfhealth")}
    assert len(names) == 2 * len({one, other})
    assert all(len(name) <= 31 for name in names)


def test_a_group_that_is_missing_or_that_nobody_is_in_is_taken():
    assert refusal(accounts.check_group, "tfserving", None, []) == ""
    assert refusal(accounts.check_group, "models", Group("models", 990), [OURS]) == ""


def test_the_account_that_all_servers_shared_may_stay_in_the_group():
    assert refusal(accounts.check_group, "tfserving", Group("tfserving", 997), [OURS]) == ""


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        (Group("root", 0), "tfserving_group: root comes with the system (id 0)"),
        (Group("shadow", 42), "tfserving_group: shadow comes with the system (id 42)"),
        (Group("users", 100), "tfserving_group: users comes with the system (id 100)"),
        (Group("alice", 1000), "tfserving_group: alice is not a system group (id 1000)"),
        (Group("nogroup", 65534), "tfserving_group: nogroup is not a system group (id 65534)"),
        (Group("docker", 995), "tfserving_group: docker gives rights on the host"),
        (Group("systemd-journal", 999), "tfserving_group: systemd-journal gives rights on the host"),
        (Group("ops", 994, ("bob", "alice")), "tfserving_group: ops has members (alice, bob)"),
        (Group("postgres", 110), "tfserving_group: postgres has members (postgres)"),
    ],
)
def test_a_group_that_is_somebody_elses_is_refused(group, sentence):
    postgres = Account("postgres", 108, 110, "PostgreSQL administrator", "/bin/bash")
    assert refusal(accounts.check_group, group.name, group, [OURS, postgres]) == sentence + REMEDY


@pytest.mark.parametrize(
    "change", [{"shell": "/bin/bash"}, {"comment": "TensorFlow Serving,,,"}, {"uid": 1001}], ids=["shell", "name", "id"]
)
def test_an_account_that_only_looks_like_ours_is_a_member_as_any_other(change):
    alike = Account(**{"name": "eve", "uid": 998, "gid": 997, "comment": OURS.comment, "shell": OURS.shell} | change)
    sentence = refusal(accounts.check_group, "tfserving", Group("tfserving", 997), [alike])
    assert sentence == "tfserving_group: tfserving has members (eve)" + REMEDY


@pytest.mark.parametrize("name", ["tfserving-ranker", "tfhealth-ranker"])
def test_an_account_that_is_there_already_is_not_taken_over(name):
    # systemd would run the instance as that account, with all that it may do.
    taken = Account(name, 1001, 1001, shell="/bin/bash")
    assert refusal(accounts.check_instances, ["digits", "ranker"], [taken]) == (
        f"tfserving_instances: ranker would run as {name}, which is an account of this host already (id 1001);"
        " name the instance otherwise, or remove the account"
    )


def test_the_account_of_an_instance_that_runs_is_its_own():
    running = Account("tfserving-ranker", 61500, 61500)
    assert refusal(accounts.check_instances, ["ranker"], [running]) == ""


def test_all_that_speaks_against_the_names_of_a_host_is_said_at_once():
    found = {
        "group": {"name": "ops", "gid": 994, "members": ["bob"]},
        "accounts": [{"name": "tfserving-digits", "uid": 1000, "gid": 1000, "comment": "", "shell": "/bin/sh"}],
    }
    assert refusal(accounts.check, found, "ops", ["ranker", "digits"]).splitlines() == [
        "tfserving_group: ops has members (bob)" + REMEDY,
        "and 1 more:",
        "- tfserving_instances: digits would run as tfserving-digits, which is an account of this host already (id"
        " 1000); name the instance otherwise, or remove the account",
    ]
    assert refusal(accounts.check, {"group": None, "accounts": []}, "ops", ["digits"]) == ""
