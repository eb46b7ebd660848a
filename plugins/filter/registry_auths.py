# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A filter that writes the credentials of registries as programs of the container world read them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: registry_auths
short_description: Credentials of registries as skopeo reads them
version_added: 0.1.0
description:
  - Returns the content of an authentication file (containers-auth.json(5)), as C(skopeo login --authfile) writes it.
  - What it returns holds the passwords, encoded but not encrypted.
options:
  _input:
    description: Registries with C(username) and C(password) each.
    type: dict
    required: true
seealso:
  - name: containers-auth.json(5)
    description: The format of the file.
    link: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

EXAMPLES = r"""
- name: Bring the registries' credentials
  ansible.builtin.copy:
    content: "{{ tfserving_registry_credentials | tfserving.fleet.registry_auths | to_json }}"
    dest: /run/registry-auth.json
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: C(auths), the registries with C(auth) each.
  type: dict
  sample: {auths: {registry.example.com: {auth: dXNlcjpwYXNzd29yZA==}}}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins as registry_logins


def registry_auths(credentials: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Write the content of an authentication file; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return registry_logins.auths(credentials)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"registry_auths": registry_auths}
