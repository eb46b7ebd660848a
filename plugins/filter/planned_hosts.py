# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that gathers what the reports of a fleet's plans read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: planned_hosts
short_description: Gather the plans of hosts for a report
version_added: 0.3.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns what the role C(host_plan) has left in the facts of each host, as the filters of reports read it. A fact of
    each host with a copy of that would be kept in memory for the rest of the run.
positional: variables
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  variables:
    description: C(hostvars).
    type: dict
    required: true
seealso:
  - plugin: tfserving.fleet.plan_text
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Print the plans
  tfserving.fleet.report:
    text: "{{ ansible_play_hosts | tfserving.fleet.planned_hosts(hostvars) | tfserving.fleet.plan_text }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The topology, the plan and the plan in force of each host.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

FACTS = {"topology": "tfserving_topology", "plan": "tfserving_plan", "previous": "tfserving_previous_plan"}


def planned_hosts(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the reports read of each host."""
    return {host: {key: variables[host][fact] for key, fact in FACTS.items()} for host in hosts}


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"planned_hosts": planned_hosts}
