# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out the plans of a fleet for the terminal."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_text
short_description: Lay out the plans of a fleet for the terminal
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Shows for every group of hosts that look alike a map of the machine and who owns which core, the instances as
    tables, the reasons for each figure, the warnings, and the difference to the plan in force.
  - GPUs are shown by their numbers. Environment variables that are called like a secret are shown without their values.
positional: missing, reasons
options:
  reasons:
    description: Whether to show the reasons.
    type: bool
    default: true
extends_documentation_fragment: tfserving.fleet.fleet_plans
seealso:
  - plugin: tfserving.fleet.plan_html
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Print the plans
  tfserving.fleet.report:
    text: "{{ {'gpu-a01': {'topology': topology, 'plan': plan, 'previous': {}}} | tfserving.fleet.plan_text }}"
"""

RETURN = r"""
_value:
  description: The report, lines of at most about a hundred columns.
  type: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups, text


def plan_text(hosts: Mapping[str, Mapping[str, Any]], missing: Iterable[str] = (), reasons: bool = True) -> str:
    """Return the plans of ``hosts`` as a text; see plan_report.groups.read for their shape."""
    return text.text(groups.read(hosts, missing), reasons)


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"plan_text": plan_text}
