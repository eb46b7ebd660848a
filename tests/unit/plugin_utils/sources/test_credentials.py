# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Credentials of the controller, given or in its environment."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import credentials


def test_values_are_taken_as_they_are_and_references_from_the_environment():
    source = {"credentials": {"username": "me", "password": {"environment": "SECRET"}}}
    assert credentials.resolved(source, {"SECRET": "hush"}) == {"username": "me", "password": "hush"}
    assert credentials.resolved({}, {}) == {}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "the environment variable SECRET is not set on the controller; export it where ansible-playbook runs"),
        ("hush\n", "the environment variable SECRET holds a sign that no header can; check its value for line breaks"),
    ],
)
def test_a_variable_that_is_no_credential_is_refused_by_name(value, sentence):
    with pytest.raises(RefusalError) as refusal:
        credentials.resolved({"credentials": {"token": {"environment": "SECRET"}}}, {"SECRET": value})
    assert (str(refusal.value), refusal.value.key) == (sentence, "source.credentials.token")


def test_a_token_or_a_name_and_password_become_a_header():
    assert credentials.header({"token": "t"}) == {"Authorization": "Bearer t"}
    assert credentials.header({"username": "me", "password": "p"}) == {"Authorization": "Basic bWU6cA=="}
    assert credentials.header({}) == {}
