#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the report action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print a text as it is and keep it as a file on the controller
version_added: 0.1.0
description:
  - Prints O(text) without quoting or indenting it, for tables and maps that people read in the terminal.
  - Runs on the controller; no host is contacted.
options:
  text:
    description: What to print.
    type: str
    required: true
attributes:
  action:
    support: full
    description: An action plugin without a part on the host.
  check_mode:
    support: full
    description: Changes nothing.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Show the fleet
  tfserving.fleet.report:
    text: "{{ results | tfserving.fleet.status_table }}"
  run_once: true
"""

RETURN = r"""
# Nothing beyond the usual.
"""
