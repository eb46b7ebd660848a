# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that names a playbook as the caller does."""

from __future__ import annotations

DOCUMENTATION = r"""
name: playbook_name
short_description: Name a playbook of this collection as the caller does
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns its file where a playbook of a clone is run, such as C(site.yml), and its full name elsewhere, such as
    C(tfserving.fleet.site).
options:
  _input:
    description: The name without collection and suffix.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell what to run next
  ansible.builtin.debug:
    msg: "Run {{ 'site' | tfserving.fleet.playbook_name }}."
"""

RETURN = r"""
_value:
  description: The name.
  type: str
"""

from collections.abc import Callable

from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import current


def playbook_name(name: str) -> str:
    """Return how to run the playbook ``name``."""
    return current().playbook(name)


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter by its name."""
        return {"playbook_name": playbook_name}
