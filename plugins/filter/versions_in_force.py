# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that reads from the hosts' records which versions of each model are in force."""

from __future__ import annotations

DOCUMENTATION = r"""
name: versions_in_force
short_description: Read which versions of each model a fleet or a host serves
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Turns the records of hosts into what the planner may know of them, for models that C(rollout.yml) moves.
  - Of several hosts, what most of them serve. With O(fleet), what the one host serves by its own record, and for models
    that it does not serve yet, what the fleet serves.
positional: absent, fleet
options:
  _input:
    description: >-
      For each host what M(tfserving.fleet.host_topology) returned, at least C(plan) and C(rollouts).
    type: list
    elements: dict
    required: true
  absent:
    description: Hosts of the fleet whose records are not among them.
    type: list
    elements: str
    default: []
  fleet:
    description: What this filter returned for the fleet, for the record of one host.
    type: dict
"""

EXAMPLES = r"""
- name: Find the versions that the fleet serves
  ansible.builtin.set_fact:
    versions: "{{ ansible_play_hosts | map('extract', hostvars, 'hardware') | tfserving.fleet.versions_in_force }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: C(in_force), C(reverted) and C(unseen), for the policy of P(tfserving.fleet.host_plan#filter).
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import in_force


def versions_in_force(
    records: Iterable[Mapping[str, Any]], absent: Iterable[str] = (), fleet: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is in force; see planner/in_force.py. Raises AnsibleFilterError for a damaged record."""
    found = list(records)
    try:
        return in_force.of_fleet(found, absent) if fleet is None else in_force.of_host(found[0], fleet)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"versions_in_force": versions_in_force}
