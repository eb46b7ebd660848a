# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter C(driver_foreseen): a host's driver, a wish and apt's simulation in, the packages afterwards out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: driver_foreseen
short_description: Work out which packages of a driver apt would leave, and refuse two versions
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Reads what C(apt-get --simulate) prints, before any client of the GPUs is stopped.
  - Refuses where apt cannot install the packages, and where the kernel modules and the libraries would be of two
    versions, which refuse each other.
positional: resolved, purge, simulated
options:
  _input:
    description: What M(tfserving.fleet.nvidia_driver_state) returned as C(driver).
    type: dict
    required: true
  resolved:
    description: What P(tfserving.fleet.driver_packages#filter) returned.
    type: dict
    required: true
  purge:
    description: Packages that go first, as P(tfserving.fleet.driver_steps#filter) returned them.
    type: list
    elements: str
    required: true
  simulated:
    description: What C(apt-get --simulate install) ended with, as C(rc), C(stdout) and C(stderr).
    type: dict
    required: true
seealso:
  - plugin: tfserving.fleet.driver_steps
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Refuse modules and libraries of two versions
  ansible.builtin.set_fact:
    foreseen: "{{ state.driver | tfserving.fleet.driver_foreseen(resolved, steps.purge, simulated) }}"
"""

RETURN = r"""
_value:
  description: The version of each package of the driver afterwards, by its name.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import foreseen as rules


def driver_foreseen(
    state: Mapping[str, Any], resolved: Mapping[str, Any], purge: Sequence[str], simulated: Mapping[str, Any]
) -> dict[str, str]:
    """Return the packages; see DOCUMENTATION. Raises AnsibleFilterError with the refusal."""
    try:
        return rules.foreseen(state, resolved, purge, simulated)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"driver_foreseen": driver_foreseen}
