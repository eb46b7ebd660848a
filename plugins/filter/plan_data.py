# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that tells as data what would change on a fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_data
short_description: Tell as data what would change on a fleet
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns for every host its plan, what that would change against the plan in force, and whether it would change
    anything. The plans are without the sources and probes of models and without the values of environment variables
    that the inventory sets.
  - C(docs/ci.md) describes the document.
positional: missing
extends_documentation_fragment: tfserving.fleet.fleet_plans
seealso:
  - plugin: tfserving.fleet.plan_markdown
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep the plans as data
  tfserving.fleet.report:
    content: "{{ hosts | tfserving.fleet.plan_data | to_nice_json }}"
    dest: plan.json
"""

RETURN = r"""
_value:
  description: The document.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.data import data


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"plan_data": data}
