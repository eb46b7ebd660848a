# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that reads the library's verdict on a trial load."""

from __future__ import annotations

DOCUMENTATION = r"""
name: jemalloc_complaints
short_description: What jemalloc objected to when a process was loaded with it
version_added: 0.1.0
description:
  - Reads the standard error of a process that ran with C(LD_PRELOAD) and C(MALLOC_CONF) set, with
    C(confirm_conf:true) among the options.
  - Silence does not count as success. Every wanted pair must be confirmed, since a library that was never loaded
    prints nothing.
positional: wanted
options:
  _input:
    description: The standard error of the process.
    type: str
    required: true
  wanted:
    description: The C(MALLOC_CONF) that the process was given.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a configuration that the library does not take
  ansible.builtin.assert:
    that: trial.stderr | tfserving.fleet.jemalloc_complaints('dirty_decay_ms:3000') | length == 0
"""

RETURN = r"""
_value:
  description: One text per objection; empty when all is well.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.jemalloc import complaints


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"jemalloc_complaints": complaints}
