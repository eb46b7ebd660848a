# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter C(host_plan): hardware and wishes in, the plan of one host out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology
from ansible_collections.tfserving.fleet.plugins.plugin_utils import planner
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.schema import Plan

DOCUMENTATION = r"""
name: host_plan
short_description: Work out how a host serves what its inventory wishes
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Turns the hardware of one host and the users' wishes into the plan that the roles of the collection lay down.
  - A pure function. The same input gives the same plan, and no host is touched.
  - Each figure of the plan carries its reason, and each one that the user has set is named under C(overrides).
  - Wishes that are malformed are refused all at once, each with the variable's path and the remedy. What this host
    cannot grant is refused likewise, such as a GPU that is not there.
positional: instances, models, policy, key
options:
  _input:
    description: What M(tfserving.fleet.host_topology) returned as C(topology).
    type: dict
    required: true
  instances:
    description: >-
      The wish C(tfserving_instances). Without any, one instance called V(main) serves all models.
    type: list
    elements: dict
    required: true
  models:
    description: The wish C(tfserving_models).
    type: list
    elements: dict
    required: true
  policy:
    description: >-
      Settings of the planner that differ from its defaults, such as V({"install_method": "image"}).
      C(docs/plan-schema.md) lists them all. Unknown keys are refused.
    type: dict
    default: {}
  key:
    description:
      - The host's key for digests, as M(tfserving.fleet.plan_record) returns it. The plan holds digests in place of
        values that may be secret.
      - Without one the plan does not tell such values apart, and no change of them restarts a server.
    type: str
    default: ""
seealso:
  - module: tfserving.fleet.host_plan
  - plugin: tfserving.fleet.server_flags
    plugin_type: filter
  - plugin: tfserving.fleet.textproto
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read the hardware
  tfserving.fleet.host_topology:
  register: hardware

- name: Work out the plan
  ansible.builtin.set_fact:
    tfserving_plan: >-
      {{ hardware.topology | tfserving.fleet.host_plan(tfserving_instances, tfserving_models, {'version': '2.19.1'}) }}
"""

RETURN = r"""
_value:
  description: The plan, schema 1. C(docs/plan-schema.md) explains every key.
  type: dict
"""


def host_plan(
    topology: Topology, instances: Any, models: Any, policy: Mapping[str, Any] | None = None, key: str = ""
) -> Plan:
    """Return the plan of a host; see planner.plan.host_plan. Raises AnsibleFilterError with the refusal."""
    try:
        return planner.host_plan(topology, instances, models, policy, key)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"host_plan": host_plan}
