# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter for what a plan leaves out because it may be secret."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_secrets
short_description: Return what a plan leaves out because it may be secret
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - The values that users give to a server's environment, and the addresses and headers of models, are in no plan, since
    plans are shown and kept. They reach the roles in what this filter returns.
  - Use it under C(no_log).
positional: models, policy, key
options:
  _input:
    description: The wish C(tfserving_instances).
    type: list
    elements: dict
    required: true
  models:
    description: The wish C(tfserving_models).
    type: list
    elements: dict
    required: true
  policy:
    description: Settings of the planner that differ from its defaults.
    type: dict
    default: {}
  key:
    description: The host's key for digests, as M(tfserving.fleet.plan_record) returns it.
    type: str
    default: ""
seealso:
  - plugin: tfserving.fleet.host_plan
    plugin_type: filter
  - plugin: tfserving.fleet.instance_environment
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep what is not for the plan
  ansible.builtin.set_fact:
    tfserving_plan_secrets: "{{ tfserving_instances | tfserving.fleet.plan_secrets(tfserving_models, {}, record.key) }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: >-
    C(key), C(environment) (variables by instance) and C(sources) (C(uri) and C(headers) by model, for models that are
    fetched over a network).
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as rules


def plan_secrets(
    instances: Any, models: Any, policy: Mapping[str, Any] | None = None, key: str = ""
) -> dict[str, dict[str, Any]]:
    """Return what a plan leaves out; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return rules.secrets(instances, models, policy, key)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"plan_secrets": plan_secrets}
