# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that says in one sentence why a host cannot be planned."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_refusal
short_description: Say why a host cannot be planned as its inventory wishes
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Takes what P(tfserving.fleet.host_plan#filter) takes, and returns its refusal as text instead of raising it.
  - An error that a filter raises reaches people wrapped in where Ansible was when it happened. A task that fails with
    this text says just what is wrong and what to do.
positional: instances, models, policy
options:
  _input:
    description: What M(tfserving.fleet.host_topology) returned as C(topology).
    type: dict
    required: true
  instances:
    description: The wish C(tfserving_instances).
    type: list
    elements: dict
    required: true
  models:
    description: The wish C(tfserving_models).
    type: list
    elements: dict
    required: true
  policy:
    description: Settings of the planner that differ from its defaults.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Refuse what cannot work
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ hardware.topology | tfserving.fleet.plan_refusal(tfserving_instances, tfserving_models) }}"
"""

RETURN = r"""
_value:
  description: The refusal; empty where the host can be planned.
  type: str
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils import planner


def plan_refusal(
    topology: Mapping[str, Any], instances: Any, models: Any, policy: Mapping[str, Any] | None = None
) -> str:
    """Return why the host cannot be planned, or an empty text."""
    try:
        planner.host_plan(topology, instances, models, policy)
    except WishError as error:
        return str(error)
    return ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"plan_refusal": plan_refusal}
