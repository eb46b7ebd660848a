# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out the status of a fleet as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Lay out the status of a fleet as a table
version_added: 0.1.0
description:
  - Turns the results of M(tfserving.fleet.instance_status) into a table for the terminal, followed by what is not as it
    should be.
options:
  _input:
    description: Host name to the host's result.
    type: dict
    required: true
  missing:
    description: Hosts that were not reached or failed. They are named in the table as well.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Print the table
  tfserving.fleet.report:
    text: "{{ {'lab-a': status} | tfserving.fleet.status_table }}"
"""

RETURN = r"""
_value:
  description: The table.
  type: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import current
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import status


def status_table(hosts: Mapping[str, Mapping[str, Any]], missing: Sequence[str] = ()) -> str:
    """Return the table, playbooks in it named as the caller names them."""
    return status.status_table(hosts, missing, current())


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"status_table": status_table}
