# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that looks at addresses before any host is given them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: address_refusal
short_description: Why a list of addresses cannot be used, or nothing
version_added: 0.1.0
description:
  - systemd drops an address that it cannot read with a line in its journal, and then lets in fewer than were meant.
positional: rest, rules, outgoing
options:
  _input:
    description: Addresses, networks and systemd's words for them.
    type: list
    elements: str
    required: true
  rest:
    description: Those for the REST ports, where they differ.
    type: list
    elements: str
    default: []
  rules:
    description: C(tfserving_address_rules). Only V(nftables) can tell ports apart.
    type: str
    default: nftables
  outgoing:
    description: Those whom the servers may call.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse addresses that are none
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ tfserving_allow_from | tfserving.fleet.address_refusal }}"
"""

RETURN = r"""
_value:
  description: One sentence, naming the entry; empty where all is well.
  type: str
"""

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules


def address_refusal(addresses: Any, rest: Any = (), rules: str = "nftables", outgoing: Any = ()) -> str:
    """Return why the addresses cannot be used, or an empty text."""
    try:
        address_rules.check(addresses, rest, rules, outgoing)
    except WishError as error:
        return str(error)
    return ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"address_refusal": address_refusal}
