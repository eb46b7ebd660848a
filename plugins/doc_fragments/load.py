# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Options and attributes of the actions that put an instance under load."""

from __future__ import annotations


class ModuleDocFragment:
    """The instance, and the hosts whose load generators call it."""

    DOCUMENTATION = r"""
options:
  target:
    description: The instance, as M(tfserving.fleet.benchmark_target) describes it in C(targets).
    type: dict
    required: true
  load_hosts:
    description: The hosts that send the load, which all run this task. The first one conducts.
    type: list
    elements: str
    required: true
attributes:
  action:
    support: full
    description: Runs on the controller and has the load generator run on load hosts.
"""
