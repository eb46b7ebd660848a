#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the load_program action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: load_program
short_description: Copy a program of this collection to a host
version_added: 0.2.0
description:
  - The load generator and the optimizer of models are Python packages that import no other file of the collection. Each
    is copied as one zip archive, which Python runs.
  - The same release of the collection makes the same file, so a second run changes nothing.
options:
  dest:
    description: Where the file goes. Its directory must exist.
    type: str
    required: true
  program:
    description: Which of them.
    type: str
    choices: [load, optimizer]
    default: load
attributes:
  action:
    support: full
    description: Makes the file on the controller and copies it with M(ansible.builtin.copy).
  check_mode:
    support: full
    description: Says whether the file would change.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Copy the load generator
  tfserving.fleet.load_program:
    dest: /opt/load/program.zip
"""

RETURN = r"""
dest:
  description: Where the file is.
  type: str
  returned: always
checksum:
  description: SHA-1 of the file, as M(ansible.builtin.copy) returns it.
  type: str
  returned: success
"""
