# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that joins the variables of several roles, so that all are checked before the first host is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_options
short_description: Join the variables of several roles into one argument spec
version_added: 0.1.0
description:
  - Joins the C(main) entry points of several C(meta/argument_specs.yml) into one spec for
    M(ansible.builtin.validate_argument_spec).
  - Refuses names that none of the specs has. A misspelt variable would otherwise be ignored without a word.
  - Required options are left out, since roles hand those to one another.
positional: names
options:
  _input:
    description: The parsed argument specs.
    type: list
    elements: dict
    required: true
  names:
    description: The variable names in use that belong to these roles.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check the variables of two roles at once
  ansible.builtin.validate_argument_spec:
    argument_spec: "{{ [spec_a, spec_b] | tfserving.fleet.role_options(['tfserving_version']) }}"
"""

RETURN = r"""
_value:
  description: Option name to option spec.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest


def role_options(specs: list[dict], names: list[str]) -> dict[str, dict]:
    """Return the settable options of all ``specs``; raise for a name in ``names`` that none of them has."""
    options: dict[str, dict] = {}
    for spec in specs:
        options.update(spec["argument_specs"]["main"]["options"])
    for name in sorted(set(names) - set(options)):
        error = WishError(name, "is not a variable of this collection", nearest(name, options) or "remove it")
        raise AnsibleFilterError(str(error))
    return {name: option for name, option in options.items() if not option.get("required")}


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"role_options": role_options}
