#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the report action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print a text and keep it as a file on the controller
version_added: 0.1.0
description:
  - Prints O(text) without quoting or indenting it, for tables and maps that people read in the terminal.
  - Control characters, bidirectional overrides and the like are spelt out, such as C(\x1b); line breaks are kept.
  - Runs on the controller; no host is contacted.
  - The file is written in check mode too. It is what the task is for, and no part of any host.
options:
  text:
    description: What to print. Either this or O(content) is required.
    type: str
  dest:
    description:
      - A file on the controller to keep the report in. It is replaced as a whole, and its URL is printed at the end.
      - A relative path starts at the working directory of C(ansible-playbook). Without it, or when it is empty, nothing
        is written.
    type: str
  content:
    description: What to write to O(dest). The printed O(text) unless given.
    type: str
extends_documentation_fragment: tfserving.fleet.on_controller
attributes:
  check_mode:
    support: full
    description: Changes nothing on any host; the file is written in check mode too.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Show the fleet
  tfserving.fleet.report:
    text: "{{ results | tfserving.fleet.status_table }}"
  run_once: true

- name: Write a file, and print no more than where it is
  tfserving.fleet.report:
    content: "{{ hosts | tfserving.fleet.plan_markdown }}"
    dest: plan.md
  run_once: true

- name: Show the plans, and keep them as a page
  tfserving.fleet.report:
    text: "{{ hosts | tfserving.fleet.plan_text }}"
    content: "{{ hosts | tfserving.fleet.plan_html }}"
    dest: plan.html
  run_once: true
"""

RETURN = r"""
dest:
  description: The absolute path of the file.
  type: str
  returned: when O(dest) is given
"""
