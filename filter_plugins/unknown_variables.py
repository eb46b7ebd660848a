# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that finds variables which no role knows."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
short_description: Find variables that no role knows
version_added: 0.1.0
author:
  - tfserving.fleet contributors
description:
  - Compares names with the C(main) entry points of several C(meta/argument_specs.yml). A misspelt variable would
    otherwise be ignored without a word.
positional: specs
options:
  _input:
    description: The variable names in use that belong to these roles.
    type: list
    elements: str
    required: true
  specs:
    description: The parsed argument specs.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse variables that no role knows
  ansible.builtin.assert:
    that: unknown | length == 0
    fail_msg: "{{ unknown | join(', ') }}"
  vars:
    unknown: "{{ ['tfserving_verison'] | tfserving.fleet.unknown_variables(specs) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each name that none of the specs has.
  type: list
  elements: str
"""

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest


def unknown_variables(names: list[str], specs: list[dict]) -> list[str]:
    """Return a sentence for every name in ``names`` that none of ``specs`` has."""
    known = {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}
    return [
        str(WishError(name, "is not a variable of this collection", nearest(name, known) or "remove it"))
        for name in sorted(set(names) - known)
    ]


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"unknown_variables": unknown_variables}
