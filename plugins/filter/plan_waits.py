# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that tells which versions wait for a roll-out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_waits
short_description: Tell which versions of models wait for a roll-out
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Says for each model with C(rollout) whose wished version is not in force which one waits, on which hosts, and which
    command brings it into service.
options:
  _input:
    description: The plan of each host, by its name.
    type: dict
    required: true
seealso:
  - plugin: tfserving.fleet.plan_text
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the versions that wait for a roll-out
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: tfserving_plan} | tfserving.fleet.plan_waits }}"
"""

RETURN = r"""
_value:
  description: Two lines for each move; empty where nothing waits.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import current
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import waiting


def plan_waits(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what waits on which of the hosts."""
    return waiting.summary(plans, lambda model: current().command("rollout", "-e", f"model={model}"))


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter by its name."""
        return {"plan_waits": plan_waits}
