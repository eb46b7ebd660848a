# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that finds variables which no role knows."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
short_description: Find variables that no role knows
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Compares names with the C(main) entry points of several C(meta/argument_specs.yml). A misspelt variable would
    otherwise be ignored without a word.
  - A name that is nearly that of a variable, or was one once, is refused. Any other is taken for the user's own, and
    only listed.
  - Names that do not begin like those of the roles are other people's. One that is nearly a variable is named.
positional: specs, roles, facts
options:
  _input:
    description: The variable names in use.
    type: list
    elements: str
    required: true
  specs:
    description: The parsed argument specs.
    type: list
    elements: dict
    required: true
  roles:
    description: The roles whose names such variables begin with.
    type: list
    elements: str
    required: true
  facts:
    description: Names of what roles leave behind for one another.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse variables that no role knows
  ansible.builtin.assert:
    that: unknown.refused | length == 0
    fail_msg: "{{ unknown.refused | join('; ') }}"
  vars:
    unknown: "{{ ['tfserving_verison'] | tfserving.fleet.unknown_variables(specs, ['tfserving']) }}"
"""

RETURN = r"""
_value:
  description: Two lists of sentences, C(refused) and C(ignored).
  type: dict
"""

from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import variables as variable_names


def unknown_variables(
    names: Sequence[str], specs: Sequence[dict], roles: Sequence[str], facts: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return what is to be said of every name in ``names`` that neither ``specs`` nor ``facts`` has."""
    known = {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}
    used = set(names) - set(facts)
    prefixes = [f"{role}_" for role in roles]
    ours = {name for name in used if name.startswith(tuple(prefixes))}
    return {
        "refused": variable_names.refusals(ours, known, prefixes),
        "ignored": [
            *variable_names.warnings(ours, known, prefixes),
            *variable_names.slips(used - ours, known, prefixes),
        ],
    }


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"unknown_variables": unknown_variables}
