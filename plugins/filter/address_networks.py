# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filters that read the addresses which may talk to the servers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: address_networks
short_description: The networks of a list of addresses, by family
version_added: 0.1.0
description:
  - Reads addresses, networks and systemd's words (V(localhost), V(link-local), V(multicast), V(any)). Networks that lie
    within another are left out.
  - An error where one is neither; systemd would drop it without stopping.
options:
  _input:
    description: The addresses.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show who may talk to the servers
  ansible.builtin.debug:
    msg: "{{ tfserving_allow_from | tfserving.fleet.address_networks }}"
"""

RETURN = r"""
_value:
  description: V(ipv4) and V(ipv6), a list of networks each.
  type: dict
  sample: {ipv4: [127.0.0.0/8], ipv6: ["::1/128"]}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules


def address_networks(addresses: Any) -> dict[str, list[str]]:
    """Return the networks of each family."""
    try:
        return address_rules.networks(addresses)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"address_networks": address_networks}
