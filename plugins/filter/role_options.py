# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that joins the variables of several roles, so that all are checked before the first host is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_options
short_description: Join the variables of several roles into one argument spec
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Joins the C(main) entry points of several C(meta/argument_specs.yml) into one spec for
    M(ansible.builtin.validate_argument_spec).
  - Required options are left out, since roles hand those to one another.
options:
  _input:
    description: The parsed argument specs.
    type: list
    elements: dict
    required: true
seealso:
  - plugin: tfserving.fleet.unknown_variables
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Check the variables of two roles at once
  ansible.builtin.validate_argument_spec:
    argument_spec: "{{ [spec_a, spec_b] | tfserving.fleet.role_options }}"
"""

RETURN = r"""
_value:
  description: Option name to option spec.
  type: dict
"""


def role_options(specs: list[dict]) -> dict[str, dict]:
    """Return the settable options of all ``specs``."""
    options = {}
    for spec in specs:
        options.update(spec["argument_specs"]["main"]["options"])
    return {name: option for name, option in options.items() if not option.get("required")}


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"role_options": role_options}
