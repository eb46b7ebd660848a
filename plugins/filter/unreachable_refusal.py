# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that says why a run does not go on without the hosts that it cannot reach."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unreachable_refusal
short_description: Say why a run does not go on without the hosts that it cannot reach
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Names the hosts that cannot be reached and the ways to go on without them.
positional: fleet_hosts, leave_out
options:
  _input:
    description: Host to the result of the first task that asked something of it, registered with C(ignore_unreachable).
    type: dict
    required: true
  fleet_hosts:
    description: The pattern of the fleet's hosts.
    type: raw
    required: true
  leave_out:
    description: Whether the run goes on without them; then only a run that reaches no host at all is refused.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Refuse to go on where a host cannot be reached
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ {'a': {'unreachable': true}, 'b': {}} | tfserving.fleet.unreachable_refusal('tfserving', false) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: One sentence, or an empty string where the run may go on.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import hosts as fleet_hosts


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"unreachable_refusal": fleet_hosts.unreachable}
