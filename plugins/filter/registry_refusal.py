# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that looks at the credentials of registries before any host is given them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: registry_refusal
short_description: Why credentials of registries cannot be used, or nothing
version_added: 0.1.0
description:
  - Where they are used, nothing of an error may be shown. This checks them beforehand, and repeats no password.
options:
  _input:
    description: Registries with C(username) and C(password) each.
    type: dict
    required: true
seealso:
  - plugin: tfserving.fleet.registry_auths
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Refuse a login without a password
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ tfserving_registry_credentials | tfserving.fleet.registry_refusal }}"
"""

RETURN = r"""
_value:
  description: One sentence, naming the variable; empty where all is well.
  type: str
"""

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins as registry_logins


def registry_refusal(credentials: Any) -> str:
    """Return why they cannot be used, or an empty text."""
    try:
        registry_logins.auths(credentials)
    except WishError as error:
        return str(error)
    return ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"registry_refusal": registry_refusal}
