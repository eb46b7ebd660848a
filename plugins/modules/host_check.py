#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the host_check action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Refuse a host that cannot carry servers
version_added: 0.2.0
description:
  - Fails with one message that holds all that speaks against servers on a host, whatever its hardware is. So it can be
    asked before a driver is changed.
  - The host has to be run by systemd, and accounts and groups of the servers' names must not be somebody else's.
  - Where the server comes from a repository of apt, no other entry may name the same repository with another key, since
    every command of apt fails then.
  - Runs on the controller; no host is contacted.
options:
  service_manager:
    description: What M(tfserving.fleet.host_topology) returned under that name.
    type: str
    required: true
  apt_sources:
    description: What M(tfserving.fleet.host_topology) returned under that name.
    type: list
    elements: dict
    required: true
  accounts:
    description: What M(tfserving.fleet.host_topology) returned under that name.
    type: dict
    required: true
  servers:
    description: What M(tfserving.fleet.wishes) returned as RV(tfserving.fleet.wishes#module:servers).
    type: dict
    required: true
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Check the variables
  tfserving.fleet.wishes:
  register: wishes

- name: Read the host
  tfserving.fleet.host_topology:
    group: "{{ wishes.servers.group }}"
    instances: "{{ wishes.servers.instances }}"
  register: found

- name: Check the host
  tfserving.fleet.host_check:
    service_manager: "{{ found.service_manager }}"
    apt_sources: "{{ found.apt_sources }}"
    accounts: "{{ found.accounts }}"
    servers: "{{ wishes.servers }}"
"""

RETURN = r""" # """
