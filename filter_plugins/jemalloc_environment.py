# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that makes the environment of a server on jemalloc."""

from __future__ import annotations

DOCUMENTATION = r"""
name: jemalloc_environment
short_description: The environment variables that put jemalloc under a server
version_added: 0.1.0
description:
  - Joins a preset with overrides and returns C(LD_PRELOAD) and C(MALLOC_CONF).
  - Refuses options that jemalloc 5.3 does not know and values that it would reject. jemalloc itself only prints a line
    and carries on without them.
positional: overrides, architecture
options:
  _input:
    description: The preset, one of V(balanced), V(low_latency), V(low_memory), V(custom).
    type: str
    required: true
  overrides:
    description: Option names to plain values; V(null) leaves an option at the library's default.
    type: dict
    default: {}
  architecture:
    description: The host's machine name as C(uname -m) prints it.
    type: str
    default: x86_64
seealso:
  - plugin: tfserving.fleet.jemalloc_complaints
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what a server gets
  ansible.builtin.debug:
    msg: "{{ 'balanced' | tfserving.fleet.jemalloc_environment({'dirty_decay_ms': 3000}, 'x86_64') }}"
  # LD_PRELOAD: /usr/lib/x86_64-linux-gnu/libjemalloc.so.2
  # MALLOC_CONF: background_thread:true,metadata_thp:auto,dirty_decay_ms:3000,muzzy_decay_ms:0
"""

RETURN = r"""
_value:
  description: The variables C(LD_PRELOAD) and C(MALLOC_CONF).
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.jemalloc import environment


def jemalloc_environment(preset: str, overrides: dict | None = None, architecture: str = "x86_64") -> dict[str, str]:
    """Return the environment for ``preset`` with ``overrides``; raise the filter error with the variable's name."""
    try:
        return environment(preset, overrides, architecture)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"jemalloc_environment": jemalloc_environment}
