# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that names the account of an instance."""

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_account
short_description: Name the account that an instance runs as
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - systemd makes the account when the instance starts. All instances of one template unit would share it, were it not
    named.
positional: prefix
options:
  _input:
    description: The instance's name.
    type: str
    required: true
  prefix:
    description: What the account's name begins with.
    type: str
    default: tfserving
"""

EXAMPLES = r"""
- name: Show the account of an instance
  ansible.builtin.debug:
    msg: "User={{ 'ranker' | tfserving.fleet.instance_account }}"
  # User=tfserving-ranker
"""

RETURN = r"""
_value:
  description: The account's name, of at most 31 characters.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.host import accounts


def instance_account(name: str, prefix: str = accounts.SERVER) -> str:
    """Return the account's name."""
    return accounts.of_instance(str(name), prefix)


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"instance_account": instance_account}
