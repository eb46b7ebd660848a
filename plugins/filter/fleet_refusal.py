# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that says what is wrong with the fleet of a run before any host is asked."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_refusal
short_description: Say what is wrong with the fleet of a run
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - A pattern that matches no host, a limit that leaves none, and sizes of batches that are none. Ansible passes over a
    play without hosts and ends as if all were well.
positional: matched, limited, groups, batches
options:
  _input:
    description: The pattern of the fleet's hosts.
    type: raw
    required: true
  matched:
    description: The hosts of the inventory that it matches.
    type: list
    elements: str
    required: true
  limited:
    description: The hosts that C(--limit) leaves.
    type: list
    elements: str
    required: true
  groups:
    description: The inventory's groups and their hosts.
    type: dict
    required: true
  batches:
    description: Variable to the size of batches that it sets.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Refuse a fleet without hosts
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ 'tfserving' | tfserving.fleet.fleet_refusal([], ansible_play_hosts_all, groups) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each thing that is wrong, one a line; empty where nothing is.
  type: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals, WishErrors
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import hosts as fleet_hosts


def fleet_refusal(
    pattern: Any,
    matched: Sequence[str],
    limited: Sequence[str],
    groups: Mapping[str, list[str]],
    batches: Mapping[str, Any] | None = None,
) -> str:
    """Return what is wrong with the fleet of a run, or an empty string."""
    refusals = Refusals()
    for path, value in (batches or {}).items():
        refusals.check(fleet_hosts.refuse_batch, path, value)
    refusals.check(fleet_hosts.refuse_pattern, pattern)
    if not refusals.errors:
        refusals.check(fleet_hosts.refuse_nobody, pattern, matched, limited, groups)
    return str(WishErrors(refusals.errors)) if refusals.errors else ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"fleet_refusal": fleet_refusal}
