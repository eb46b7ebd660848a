#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the driver_foreseen action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_foreseen
short_description: Refuse a change that leaves a driver of two versions
version_added: 0.2.0
description:
  - Reads what C(apt-get --simulate) prints, before any client of the GPUs is stopped.
  - Refuses where apt cannot install the packages, and where the kernel modules and the libraries would be of two
    versions, which refuse each other.
  - Runs on the controller; no host is contacted.
options:
  state:
    description: What M(tfserving.fleet.nvidia_driver_state) returned as C(driver).
    type: dict
    required: true
  resolved:
    description: What M(tfserving.fleet.driver_plan) returned under that name.
    type: dict
    required: true
  purge:
    description: Packages that go first, as M(tfserving.fleet.driver_plan) returned them in C(steps).
    type: list
    elements: str
    required: true
  simulated:
    description: What C(apt-get --simulate install) ended with, as C(rc), C(stdout) and C(stderr).
    type: dict
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller
seealso:
  - module: tfserving.fleet.driver_plan
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Simulate the installation
  ansible.builtin.command:
    argv: [apt-get, --simulate, install, nvidia-driver]
  register: simulated

- name: Refuse mismatched modules and libraries
  tfserving.fleet.driver_foreseen:
    state: "{{ found.driver }}"
    resolved: "{{ planned.resolved }}"
    purge: "{{ planned.steps.purge }}"
    simulated: "{{ simulated }}"
"""

RETURN = r"""
packages:
  description: The version of each package of the driver afterwards, by its name.
  type: dict
  returned: success
"""
