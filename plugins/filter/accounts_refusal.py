# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that finds accounts and groups of a host that the servers cannot use."""

from __future__ import annotations

DOCUMENTATION = r"""
name: accounts_refusal
short_description: Find what speaks against the servers' group and accounts on a host
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Each instance has an account of its own, which systemd makes as it starts, and all have one group. Where an account
    of that name is there already, or the group is not the servers' alone, the host is refused before it is changed.
positional: group, instances
options:
  _input:
    description: What the host knows, as RV(tfserving.fleet.host_topology#module:accounts) has it.
    type: dict
    required: true
  group:
    description: Name of the group.
    type: str
    required: true
  instances:
    description: Names of the instances.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a group with another owner
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ found.accounts | tfserving.fleet.accounts_refusal('tfserving', ['ranker']) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each thing that speaks against it, one a line; empty where there is none.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.host import accounts


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"accounts_refusal": accounts.refusal}
