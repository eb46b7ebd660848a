# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter for the variables that a server's process gets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: instance_environment
short_description: Return all environment variables of a planned instance
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Joins the variables that the plan sets with the wished ones, of which the plan holds no more than digests.
  - Refuses an instance whose digests are of other values, as those of an earlier plan may be.
positional: secrets
options:
  _input:
    description: An instance of the plan.
    type: dict
    required: true
  secrets:
    description: What M(tfserving.fleet.host_plan) returned as RV(tfserving.fleet.host_plan#module:secrets).
    type: dict
    required: true
seealso:
  - module: tfserving.fleet.host_plan
"""

EXAMPLES = r"""
- name: Write the environment file of an instance
  ansible.builtin.copy:
    dest: /etc/tfserving/ranker/environment
    mode: "0600"
    content: |
      {% for name, value in tfserving_plan.instances[0]
         | tfserving.fleet.instance_environment(tfserving_plan_secrets) | dictsort %}
      {{ name | tfserving.fleet.environment_line(value) }}
      {% endfor %}
  no_log: true
"""

RETURN = r"""
_value:
  description: The variables, all values as text.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.secrets import environment


def instance_environment(instance: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, str]:
    """Return all variables of an instance; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return environment(instance, secrets)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"instance_environment": instance_environment}
