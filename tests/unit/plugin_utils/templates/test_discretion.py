# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An error of a secret template repeats no value."""

from __future__ import annotations

import traceback

import pytest
from ansible.errors import AnsibleError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.discretion import discreet

REST = "and is secret, so no more is said; try the template with harmless values and without 'secret'"


def of_a_wish(path):
    error = ValueError("hunter2")
    error.__cause__ = WishError(path, "is hunter2", "write another")
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("hunter2"), f"cannot be rendered (ValueError) {REST}"),
        (KeyError("hunter2"), f"cannot be rendered (KeyError) {REST}"),
        (of_a_wish("environment.KEY"), f"cannot be rendered (because of environment.KEY) {REST}"),
        (of_a_wish("hunter2 = x"), f"cannot be rendered (ValueError) {REST}"),
        (NameError("'unheard' is undefined"), "'unheard' is undefined"),
        (NameError("'hunter2' is undefined"), f"cannot be rendered (NameError) {REST}"),
    ],
)
def test_an_error_says_only_what_the_template_spells_out(error, sentence):
    with pytest.raises(AnsibleError) as raised, discreet("{{ unheard }}"):
        raise error
    assert str(raised.value) == sentence
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_what_goes_well_goes_through():
    with discreet("{{ a }}"):
        pass
