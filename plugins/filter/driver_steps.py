# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter C(driver_steps): a host's driver and the wished one in, what is to be done out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: driver_steps
short_description: Work out what has to be done to a host for the wished driver
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Compares what a host shows with the packages of the wished driver.
  - Only what has a driver's version, or bears a branch in its name, is a part of a driver. Container tools, GPUDirect
    Storage, packages of DGX OS and the CUDA toolkit are left alone.
  - Modules and libraries of one branch and of two versions are brought to one.
  - Refuses before anything is changed, where Secure Boot would not let the kernel load the modules, where a process
    that is not declared uses a GPU whose driver is to be replaced, and where NVIDIA's own installer has put a
    driver.
positional: resolved, clients
options:
  _input:
    description: What M(tfserving.fleet.nvidia_driver_state) returned as C(driver).
    type: dict
    required: true
  resolved:
    description: What P(tfserving.fleet.driver_packages#filter) returned; empty where the driver is to go.
    type: dict
    required: true
  clients:
    description: Patterns of units that may be stopped for the change.
    type: list
    elements: str
    default: []
seealso:
  - plugin: tfserving.fleet.driver_packages
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Work out the steps
  ansible.builtin.set_fact:
    steps: "{{ state.driver | tfserving.fleet.driver_steps(resolved, ['tfserving@*.service']) }}"
"""

RETURN = r"""
_value:
  description: What to do.
  type: dict
  contains:
    kind: {description: "V(none), V(install), V(change) or V(remove).", type: str}
    install: {description: "What apt is given, empty where all is there.", type: list, elements: str}
    purge:
      description: Packages that go first, those of a foreign architecture with it (V(libcuda1:i386)).
      type: list
      elements: str
    replaces: {description: Whether the kernel runs a driver that has to go., type: bool}
    unproven: {description: "Why the modules that are there now would not load, or empty.", type: str}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as rules
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def driver_steps(state: Mapping[str, Any], resolved: Mapping[str, Any], clients: Sequence[str] = ()) -> dict[str, Any]:
    """Return the steps; see DOCUMENTATION. Raises AnsibleFilterError with the refusal."""
    try:
        return rules.steps(state, resolved, clients)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"driver_steps": driver_steps}
