#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the driver_plan action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_plan
short_description: Work out what is done about the NVIDIA driver of a host
version_added: 0.2.0
description:
  - Names the packages of the driver that was asked for, and compares them with what the host shows.
  - Only what has a driver's version, or bears a branch in its name, is a part of a driver. Container tools, GPUDirect
    Storage, packages of DGX OS and the CUDA toolkit are left alone.
  - Refuses before anything is changed what no archive has or no GPU works with, modules that Secure Boot would not let
    the kernel load, a process that nobody has declared and that uses a GPU, a driver of NVIDIA's own installer, and
    entries of apt that would break it beside the role's.
  - Reads C(distribution), C(distribution_version) and C(architecture) of Ansible's facts where a driver is wished, and
    has the host asked for them where they are not known yet. Else no host is contacted.
options:
  wish:
    description: The variables of the role C(nvidia_driver) by their names without C(nvidia_driver_).
    type: dict
    required: true
  found:
    description: What M(tfserving.fleet.nvidia_driver_state) returned.
    type: dict
    required: true
  is_controller:
    description: Whether the host is the machine that Ansible runs on, which is never booted.
    type: bool
    default: false
  group:
    description:
      - The host joins the group of this name with RV(due) behind it, such as V(fleet_driver_change) for
        V(fleet_driver). Empty for none.
    type: str
    default: ""
    version_added: 0.3.0
attributes:
  check_mode:
    support: full
    description: Changes nothing at any time.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the driver
  tfserving.fleet.nvidia_driver_state:
  register: found

- name: Plan the driver
  tfserving.fleet.driver_plan:
    wish: "{{ wish }}"
    found: "{{ found }}"
  register: planned
"""

RETURN = r"""
aim:
  description: >-
    V(present) where the driver is brought to the host, V(absent) where it is taken from it, V(untouched) where it is
    left as it is, as on a host without an NVIDIA GPU.
  type: str
  returned: success
due:
  description: >-
    V(change) where packages or modules change, and GPUs are out of use for a while; V(settled) where the driver is
    there and its settings are looked after; V(none) where there is nothing to do.
  type: str
  returned: success
missing:
  description: Names of the packages that apt is going to be asked for.
  type: list
  elements: str
  returned: success
reboot:
  description: Whether the role may boot the host (C(allowed)), and what it asks for where a boot is left (C(request)).
  type: dict
  returned: success
steps:
  description: What to do to the packages.
  type: dict
  returned: where RV(aim) is not V(untouched)
  contains:
    kind: {description: "V(none), V(install), V(change) or V(remove).", type: str}
    install: {description: "What apt is given, empty where all is there.", type: list, elements: str}
    purge:
      description: Packages that go first, those of a foreign architecture with it (V(libcuda1:i386)).
      type: list
      elements: str
    replaces: {description: Whether the kernel runs a driver that has to go., type: bool}
    unproven: {description: "Why the modules that are there now would not load, or empty.", type: str}
resolved:
  description: The packages, pins and patterns of the driver.
  type: dict
  returned: where RV(aim) is V(present)
repository:
  description: Where the packages come from, and whether a file has to say so (C(missing)).
  type: dict
  returned: where RV(aim) is V(present)
exclude:
  description: The templates that the host does not get, as patterns by folder of the role.
  type: dict
  returned: where RV(aim) is V(present)
"""
