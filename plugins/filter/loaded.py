# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that returns its input, and before that loads what workers would each load anew."""

from __future__ import annotations

DOCUMENTATION = r"""
name: loaded
short_description: Load the collection's filters once for all workers
version_added: 0.3.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns its input. As it does, the process that asks for it loads the filters of this collection and the plugins of
    ansible-core that tasks on hosts need.
  - A play's C(hosts) is worked out by the process that worker processes are forked from, so they find all of it
    loaded. Elsewhere the filter changes nothing.
options:
  _input:
    description: Anything, such as a pattern of hosts.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Find the hosts of the fleet
  hosts: "{{ 'all:localhost' | tfserving.fleet.loaded }}"
"""

RETURN = r"""
_value:
  description: The input.
  type: raw
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.preload import preload


def loaded(value: Any) -> Any:
    """Return the input."""
    preload()
    return value


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"loaded": loaded}
