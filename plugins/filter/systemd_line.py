# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: systemd_line
short_description: Lets a value into a line of a unit of systemd, or refuses it
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Returns the value as it is, and refuses what would end its line or take the next one away.
  - Whoever breaks a line of a unit writes the next one, and so what root runs.
options:
  _input:
    description: The value as the unit is to hold it.
    type: raw
    required: true
seealso:
  - plugin: tfserving.fleet.systemd_quote
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show a line of a unit
  ansible.builtin.debug:
    msg: "LimitNOFILE={{ tfserving_open_files | tfserving.fleet.systemd_line }}"
"""

RETURN = r"""
_value:
  description: The value as it is written on the line.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils import unit_text
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def systemd_line(value: object) -> str:
    """Let a value into a line of a unit; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return unit_text.line(value)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"systemd_line": systemd_line}
