# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that splits a change of models into steps that a running server takes up."""

from __future__ import annotations

DOCUMENTATION = r"""
name: config_steps
short_description: Split a change of the served models into steps that a running server takes up
version_added: 0.1.0
description:
  - A new version and the move of a label onto it are two steps. The server checks labels before it loads anything, so a
    file that wants both at once is never taken up.
positional: before
options:
  _input:
    description: The instances of the plan to put in force.
    type: list
    elements: dict
    required: true
  before:
    description: The instances of the plan now in force.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Lay down each step
  ansible.builtin.include_tasks: step.yml
  loop: "{{ tfserving_plan.instances | tfserving.fleet.config_steps(tfserving_previous_plan.instances | default([])) }}"
"""

RETURN = r"""
_value:
  description: The instances of each step; a single step where no label moves.
  type: list
  elements: list
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import steps


def config_steps(
    after: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]
) -> list[list[Mapping[str, Any]]]:
    """Return the steps from ``before`` to ``after``."""
    return steps.config_steps(before, after)


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"config_steps": config_steps}
