# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that looks at the roles' own variables before any of them is written anywhere."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variables_refusal
short_description: Why variables of the roles cannot be used, or nothing
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Paths, addresses, names and limits become lines of units, of apt's files and of commands. This finds the invalid
    ones.
  - Every variable is looked at for what no variable may hold, such as a number beyond 64 bits or nesting without end.
  - Values that may be secret are never repeated.
positional: options
options:
  _input:
    description: The variables and their values.
    type: dict
    required: true
  options:
    description: Their argument specs, as P(tfserving.fleet.role_options#filter) returns them.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Refuse a path that no unit can name
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ {'tfserving_model_root': tfserving_model_root} | tfserving.fleet.variables_refusal }}"
"""

RETURN = r"""
_value:
  description: The first refusal, the others below it; empty where all is well.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes


def variables_refusal(variables: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> str:
    """Return why variables cannot be used, or an empty text."""
    try:
        role_wishes.check(variables, options)
    except WishError as error:
        return str(error)
    return ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"variables_refusal": variables_refusal}
