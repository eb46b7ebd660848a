# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The filter C(driver_packages): a wish, a system and its GPUs in, the names of the driver's packages out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: driver_packages
short_description: Work out which packages are the NVIDIA driver that was asked for
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Knows how Debian 12 and 13, Ubuntu 22.04 and 24.04 and NVIDIA's own repository name the packages of a driver branch,
    the change of names at branch 590 among it.
  - Chooses between the open and the proprietary kernel modules by the generation of the GPUs.
  - A pure function. What cannot be is refused in one sentence, such as a branch that no longer drives the GPUs.
positional: host, gpus
options:
  _input:
    description: >-
      The wish, with C(repository), C(branch), C(version), C(flavour), C(variant), C(modules) and C(fabric_manager),
      each as the variable of the role C(nvidia_driver) with that ending. What is left out has the role's default.
    type: dict
    required: true
  host:
    description: >-
      The host's C(distribution), C(release), C(architecture) as C(uname -m) says it, and C(kernel). With
      C(kernel_meta), which C(nvidia_driver_state) reads, names follow the meta package that is installed for the
      kernel; without it, Ubuntu's hardware enablement stack is told by the kernel's age.
    type: dict
    required: true
  gpus:
    description: Its GPUs, each with the PCI C(device_id) that sysfs shows.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show the packages for an H200
  ansible.builtin.debug:
    msg: "{{ wish | tfserving.fleet.driver_packages(host, [{'device_id': '0x2335'}]) }}"
  vars:
    wish: {repository: nvidia, branch: 590}
    host: {distribution: Debian, release: "12", architecture: x86_64, kernel: 6.1.0-40-amd64}
  # => {branch: "590", flavour: open, pinning: [nvidia-driver-pinning-590],
  #     packages: [nvidia-kernel-open-dkms, nvidia-driver-cuda, nvidia-persistenced], ...}
"""

RETURN = r"""
_value:
  description: What the role lays down.
  type: dict
  contains:
    branch: {description: The branch in numbers., type: str}
    flavour: {description: V(open) or V(proprietary)., type: str}
    flavour_reason: {description: Why it is this flavour., type: str}
    generations: {description: The generations of the GPUs., type: list, elements: str}
    left_alone:
      description: GPUs that the branch does not drive, with C(pci_address) and C(why).
      type: list
      elements: dict
    pinning: {description: Packages to be installed before the others., type: list, elements: str}
    packages: {description: Packages to be installed together., type: list, elements: str}
    headers: {description: The kernel's headers., type: list, elements: str}
    module_package: {description: "The package of the kernel modules, empty without any.", type: str}
    module_series:
      description: Canonical's series of prebuilt modules (V(580-server-open)), empty for modules that dkms builds.
      type: str
    kernel_modules: {description: Prebuilt modules for this very kernel., type: list, elements: str}
    fabric_manager: {description: "Package of the fabric manager, if wished.", type: list, elements: str}
    kernel_packages: {description: Packages of the kernel itself., type: list, elements: str}
    pins: {description: "apt's preferences, with C(packages), C(version) and C(priority).", type: list, elements: dict}
    repository: {description: "What the source file says.", type: dict}
    own: {description: Regular expression that packages of this naming match., type: str}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver.packages import resolve


def driver_packages(
    wish: Mapping[str, Any], host: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return the packages; see DOCUMENTATION. Raises AnsibleFilterError with the refusal."""
    try:
        return resolve(wish, host, gpus)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"driver_packages": driver_packages}
