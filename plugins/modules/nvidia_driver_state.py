#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a host shows of its NVIDIA driver; how each part is read is in module_utils/driver_*.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nvidia_driver_state
short_description: Read a host's NVIDIA GPUs, driver packages, kernel modules and Secure Boot
version_added: 0.1.0
description:
  - Reads all that a change of the driver depends on, in one call, and changes nothing.
  - Works on hosts without a driver, and without C(nvidia-smi).
options:
  kernel:
    description: Release of the kernel that the modules are for, or V(running).
    type: str
    default: running
  certificates:
    description: Public keys that dkms may sign with, in binary form, the first that exists counts.
    type: list
    elements: path
    default: [/var/lib/dkms/mok.pub, /var/lib/shim-signed/mok/MOK.der]
  resolved:
    description:
      - What M(tfserving.fleet.driver_plan) returned as RV(tfserving.fleet.driver_plan#module:resolved). With it,
        RV(driver.verdict) judges what is installed.
    type: dict
  require_live:
    description:
      - Whether the driver is to run in the kernel that runs now. V(auto) means yes, but not in containers, whose kernel
        belongs to the host around them.
    type: str
    choices: [auto, "true", "false"]
    default: auto
  outdated:
    description: Whether the host still shows the driver that a run outside check mode would have replaced by now.
    type: bool
    default: false
  ignore:
    description:
      - GPUs that are left out, by PCI address (V(0000:3b:00.0)) or by the ids of vendor and device (V(10de:128b)). What
        is no GPU of the host is warned about. Those that C(vfio-pci) or another such driver holds, and virtual
        functions (SR-IOV), are left out anyway.
    type: list
    elements: raw
    default: []
  sysroot:
    description: Root of the machine to read. Programs are asked of this host all the same.
    type: path
    default: /
attributes:
  check_mode:
    description: Reads only, so check mode is no different.
    support: full
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the driver
  tfserving.fleet.nvidia_driver_state:
  register: driver
"""

RETURN = r"""
apt_sources:
  description:
    - Every entry of the host's apt, from both forms of source files; anything that is not a file is skipped. Each has
      C(file), C(line), C(uri) (as it compares, without credentials), C(suite), C(signed_by) and C(trusted).
  returned: success
  type: list
  elements: dict
driver:
  description: What the host shows.
  returned: success
  type: dict
  contains:
    gpus:
      description: >-
        GPUs by PCI address, each with C(pci_address), C(device_id), the kernel C(driver) that is bound, C(virtual)
        (whether it is a vGPU; null where only root may know) and C(functions) (into how many virtual functions it is
        cut).
      type: list
      elements: dict
    left_out:
      description: >-
        GPUs that are none of this collection's, with C(pci_address), C(device_id), C(driver), C(why) and C(held)
        (whether all of it is bound elsewhere), such as those that C(vfio-pci) holds, and virtual functions (SR-IOV).
      type: list
      elements: dict
    edition:
      description: >-
        Which edition of NVIDIA's driver the machine needs, V(vgpu_guest), V(vgpu_host) or V(tegra); null for the
        ordinary one, the only one that packages bring.
      type: str
    passed_over:
      description: Why there is no driver to look after, as a sentence; empty where there is.
      type: str
    unmatched:
      description: What of O(ignore) is no GPU of this host.
      type: list
      elements: str
    installer:
      description: >-
        C(version) and C(uninstaller) of a driver that came from NVIDIA's installer (.run), or with C(image) true from
        the machine's image; null without one.
      type: dict
    nvswitches:
      description: Number of NVSwitches on the PCI bus, which those of HGX B200 and later are not.
      type: int
    kernel:
      description: >-
        C(running) and C(wanted) release, the C(meta) package that follows the wanted one without its first words
        (V(generic-hwe-22.04)), whether its C(headers) are there, and C(initramfs) with C(path) and C(stale) (older than
        the module options or the driver's modules).
      type: dict
    loaded:
      description: The driver's C(modules) in the kernel, C(version), C(flavour), and whether C(nouveau) is there.
      type: dict
    library_version:
      description: Version of the libraries; null without any.
      type: str
    built:
      description: Modules that are ready for the wanted kernel.
      type: list
      elements: dict
    dkms:
      description: What dkms has built of the driver.
      type: list
      elements: dict
    dkms_words:
      description: What dkms complains of when it is asked for the driver; mostly empty.
      type: str
    dkms_sources:
      description: What dkms could build of the driver, with C(name) and C(version).
      type: list
      elements: dict
    packages:
      description: >-
        The driver's packages C(installed), those of a foreign architecture named with it (C(libcuda1:i386)), and those
        of any kind that dpkg left C(broken).
      type: dict
    components:
      description: Archive components that apt reads.
      type: list
      elements: dict
    secure_boot:
      description: C(state), C(certificate) and whether it is C(enrolled).
      type: dict
    users:
      description: Processes that have a GPU open.
      type: list
      elements: dict
    container:
      description: Whether the kernel belongs to a host around this one.
      type: bool
    verdict:
      description:
        - C(unproven) says why the wished driver would not load, and is empty where its modules are ready. C(build) is
          what dkms would have to build for that.
        - C(remedy) is what to do about that.
        - C(live) says whether it is to run in this very kernel, C(runs) whether it does, and C(reboot_reasons) why only
          a boot would bring it there.
        - C(hold) are the packages to keep at their versions.
      returned: with O(resolved)
      type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import secure_boot, verdict
from ansible_collections.tfserving.fleet.plugins.module_utils.driver.reading import read
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import apt_sources
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus


def warn(module: AnsibleModule, state: dict[str, Any], resolved: dict[str, Any] | None) -> None:
    """Say which GPUs nothing will be done for, and what has been left out in vain."""
    for name in state["unmatched"]:
        module.warn(f"{driver_gpus.VARIABLE}: {name} is not an NVIDIA GPU of this host")
    for gpu in (resolved or {}).get("left_alone") or ():
        module.warn(gpu["why"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kernel": {"type": "str", "default": "running"},
            "certificates": {"type": "list", "elements": "path", "default": list(secure_boot.CERTIFICATES)},
            "resolved": {"type": "dict"},
            "require_live": {"type": "str", "choices": ["auto", "true", "false"], "default": "auto"},
            "outdated": {"type": "bool", "default": False},
            "ignore": {"type": "list", "elements": "raw", "default": []},
            "sysroot": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    options = module.params
    run = process_facts.runner(module)
    try:
        ignored = driver_gpus.checked(options["ignore"])
    except WishError as error:
        module.fail_json(msg=str(error))
    state = read(Tree(options["sysroot"]), run, options["kernel"], options["certificates"], ignored)
    warn(module, state, options["resolved"])
    if options["resolved"]:
        state["verdict"] = verdict.judge(state, options["resolved"], options["require_live"], options["outdated"])
    module.exit_json(changed=False, driver=state, apt_sources=apt_sources.read(options["sysroot"]))


if __name__ == "__main__":
    main()
