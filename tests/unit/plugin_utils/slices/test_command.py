# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: what is not for slices, what a playbook may be called, and what ansible-playbook is given."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import command
from refusing import refusal
from repository import REPOSITORY

ONE = "run ansible-playbook for it"
NO_TERMINAL = "as slices have no terminal"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ask_pass": True}, f"--ask-pass: is not for a run in slices; give --connection-password-file, {NO_TERMINAL}"),
        (
            {"ask_vault_pass": True},
            f"--ask-vault-pass: is not for a run in slices; give --vault-password-file, {NO_TERMINAL}",
        ),
        ({"vault_ids": ["dev@prompt"]}, f"--vault-id: asks at a terminal; name a file, {NO_TERMINAL}"),
        ({"step": True}, f"--step: is not for a run in slices; {ONE}"),
        ({"start_at_task": "x"}, f"--start-at-task: is not for a run in slices; {ONE}"),
        ({"listhosts": True}, f"--list-hosts: is not for a run in slices; {ONE}"),
        (
            {"tags": ["x"]},
            f"--tags: is not for a run in slices; they could leave out the turns of the slices; {ONE}",
        ),
        (
            {"skip_tags": ["x"]},
            f"--skip-tags: is not for a run in slices; they could leave out the turns of the slices; {ONE}",
        ),
        ({"tags": ["all"], "vault_ids": ["dev@file"], "step": False}, ""),
    ],
)
def test_options_for_one_process_are_refused(options, sentence):
    assert refusal(command._refuse_options, options) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("0", "--slices: is the string '0'; write a number from 1 to 256"),
        ("257", "--slices: is the string '257'; write a number from 1 to 256"),
        ("x", "--slices: is the string 'x'; write a number from 1 to 256"),
        ("-1", "--slices: is the string '-1'; write a number from 1 to 256"),
        ("256", ""),
    ],
)
def test_a_number_of_slices_that_is_none_is_refused(given, sentence):
    assert refusal(command._slices, given) == sentence


def test_one_playbook_of_this_collection_is_taken_by_all_its_names():
    names = ("tfserving.fleet.site", str(REPOSITORY / "playbooks/site.yml"), str(REPOSITORY / "site.yml"))
    assert [command._playbook([each])[0] for each in names] == ["site"] * 3
    sentence = "tfserving-fleet: is given 2 playbooks; run them one after another"
    assert refusal(command._playbook, list(names[:2])) == sentence


@pytest.mark.parametrize(
    ("rest", "others"),
    [
        (["site.yml", "-i", "hosts.yml"], ("-i", "hosts.yml")),
        (["-i", "hosts.yml", "-C", "site.yml"], ("-i", "hosts.yml", "-C")),
        (["-i", "site.yml", "site.yml"], ("-i", "site.yml")),
        (["-e", "a=site.yml", "site.yml", "-vv"], ("-e", "a=site.yml", "-vv")),
    ],
)
def test_all_other_arguments_go_to_ansible_playbook_as_they_are(rest, others):
    assert command._without(rest, "site.yml") == others
