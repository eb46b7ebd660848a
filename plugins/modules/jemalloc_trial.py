#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the jemalloc_trial action, which runs a command on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jemalloc_trial
short_description: Run a process with jemalloc and refuse options that the library does not take
version_added: 0.3.0
description:
  - Runs a process that does nothing with exactly the environment that the servers get. The loader and the library
    complain on standard error and go on; a server would silently run on the C library's allocator.
  - Silence does not count as success. Every option must be confirmed by the library.
options:
  environment:
    description: C(LD_PRELOAD) and C(MALLOC_CONF), as the plan has them under C(allocator).
    type: dict
    required: true
attributes:
  check_mode:
    support: none
    description: A task with C(check_mode=false) runs the process in check mode too; it changes nothing.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Run a process with the library preloaded
  tfserving.fleet.jemalloc_trial:
    environment: "{{ tfserving_plan.allocator }}"
  check_mode: false
  register: trial
"""

RETURN = r"""
missing:
  description: Whether the host lacks the library, so that no process was run.
  type: bool
  returned: success
"""
