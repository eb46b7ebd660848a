# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of the filters that lay out the plans of a fleet."""

from __future__ import annotations


class ModuleDocFragment:
    """The hosts with their plans, and those without."""

    DOCUMENTATION = r"""
options:
  _input:
    description:
      - Host name to a dictionary of C(topology) (from M(tfserving.fleet.host_topology)), C(plan) (from
        P(tfserving.fleet.host_plan#filter)) and C(previous), the plan in force, empty for none.
    type: dict
    required: true
  missing:
    description: Hosts that could not be planned. They are named as well.
    type: list
    elements: str
    default: []
"""
