# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Credentials of registries."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.registry_auths import registry_auths
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins
from refusing import refusal

PASSWORD = "s3cret:with%colon"


def test_logins_are_written_as_skopeo_reads_them():
    # printf 'fleet:s3cret:with%%colon' | base64
    assert registry_auths({"registry.lab:5000": {"username": "fleet", "password": PASSWORD}}) == {
        "auths": {"registry.lab:5000": {"auth": "ZmxlZXQ6czNjcmV0OndpdGglY29sb24="}}
    }


def test_no_credentials_make_an_empty_file():
    assert registry_auths({}) == {"auths": {}}
    assert refusal(logins.auths, {}) == ""


@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        (
            ["registry.lab"],
            "tfserving_registry_credentials: needs a mapping, not a list; name registries with their logins",
        ),
        (
            {"registry.lab": {"password": PASSWORD}},
            "tfserving_registry_credentials.registry.lab: lacks username or password; give both, the password out of a"
            " vault",
        ),
        (
            {"registry.lab": {"username": "fleet", "password": 1234}},
            "tfserving_registry_credentials.registry.lab.password: needs a string, not a number; write it in quotes",
        ),
        (
            {"registry.lab": {"username": "fl:eet", "password": PASSWORD}},
            "tfserving_registry_credentials.registry.lab.username: holds a colon, which no registry's login can;"
            " correct the name",
        ),
    ],
)
def test_what_is_no_login_is_refused_without_showing_the_password(credentials, sentence):
    assert refusal(logins.auths, credentials) == sentence
    with pytest.raises(AnsibleFilterError) as refused:
        registry_auths(credentials)
    assert str(refused.value) == sentence
    assert PASSWORD not in sentence
