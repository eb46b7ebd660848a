#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings the settings of a host's GPUs in line; rules and steps are in module_utils/gpu_settings*.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nvidia_gpu_settings
short_description: Set power limits, clocks, ECC and compute mode of NVIDIA GPUs
version_added: 0.1.0
description:
  - Compares before it sets. Values that a GPU does not take are refused with the range that the GPU reports, before any
    GPU is changed.
  - Remembers what was there before the first change. A setting that is no longer wished goes back to it.
  - Power limits, clocks and compute modes are forgotten at each boot. RV(boot_commands) set them again.
options:
  settings:
    description:
      - What the GPUs shall have. Where entries speak of the same GPU and setting, the last one counts.
    type: list
    elements: raw
    default: []
    suboptions:
      gpus:
        description: V(all), or a list of indexes, UUIDs and patterns of names (V(*H200*)).
        type: raw
        default: all
      power_limit_w:
        description: Power limit in watts.
        type: int
      graphics_clock_mhz:
        description: The clock to lock to in MHz, or a list of the lowest and the highest.
        type: raw
      memory_clock_mhz:
        description: As O(settings[].graphics_clock_mhz), for the memory.
        type: raw
      ecc:
        description: Whether memory errors are corrected. Takes effect with the next reset of the GPU.
        type: bool
      compute_mode:
        description: Whether processes may share the GPU.
        type: str
        choices: [default, exclusive_process, prohibited]
  ignore:
    description:
      - GPUs that get none of them, also where an entry speaks of V(all), by PCI address (V(0000:3b:00.0)) or by vendor
        and device id (V(10de:128b)).
    type: list
    elements: raw
    default: []
  record:
    description: Where earlier values and locked clocks are remembered.
    type: path
    default: /var/lib/tfserving-fleet/nvidia-driver/gpu-settings.json
  boot_unit:
    description: The unit that runs RV(boot_commands). After a boot, clocks count as locked once it has run.
    type: str
    default: tfserving-fleet-gpu.service
  sysroot:
    description: Root of the machine whose PCI bus is read. C(nvidia-smi) is asked of this host all the same.
    type: path
    default: /
  timeout:
    description: Seconds to wait for each answer of C(nvidia-smi).
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Compares and checks, and sets nothing.
  diff_mode:
    support: full
    description: Shows each setting before and after.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Hold the clocks steady and the power down
  tfserving.fleet.nvidia_gpu_settings:
    settings:
      - {power_limit_w: 500, graphics_clock_mhz: 1500, ecc: true}
      - {gpus: [0], compute_mode: exclusive_process}
"""

RETURN = r"""
changes:
  description: What was changed, or would be, with C(gpu), C(key), C(before) and C(after).
  returned: success
  type: list
  elements: dict
boot_commands:
  description: Commands for the unit that sets again at boot what GPUs forget.
  returned: success
  type: list
  elements: list
pending:
  description: A sentence for each GPU that takes on a setting only with its next reset.
  returned: success
  type: list
  elements: str
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import settings as gpu_settings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import settings_change as gpu_settings_change
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus.settings_memory import Memory
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import devices as nvidia_devices
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import query as nvidia_query
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi


def ours(gpus: list[dict[str, Any]], tree: Tree, ignore: list[Any]) -> list[dict[str, Any]]:
    """Return the GPUs without those that are not ours to use. Raises WishError."""
    left_out = nvidia_devices.devices(tree, driver_gpus.checked(ignore))["left_out"]
    addresses = {gpu["pci_address"] for gpu in left_out}
    return [gpu for gpu in gpus if gpu["pci_address"] not in addresses]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the parameters say and return the result."""
    options = module.params
    ask = partial(nvidia_smi.run, timeout=options["timeout"])
    answer = nvidia_query.gpus(ask, gpu_settings.FIELDS)
    if answer is None:
        raise WishError(gpu_setting_wishes.PATH, "nvidia-smi is not on this host", "install the driver first")
    if answer.error:
        raise answer.error
    if answer.cut_short:
        problem = f"nvidia-smi cut a row short: {answer.cut_short[0]}"
        raise WishError(gpu_setting_wishes.PATH, problem, "run it again, or reboot the host")
    gpus = ours(answer.gpus, Tree(options["sysroot"]), options["ignore"])
    status, _out, _err = process_facts.runner(module)(["systemctl", "is-active", "--quiet", options["boot_unit"]])
    boot_id = Tree().text("proc/sys/kernel/random/boot_id") or ""
    memory = Memory(options["record"], boot_id, restored=status == 0)
    wanted, changes = gpu_settings_change.plan(ask, gpus, options["settings"], memory)
    if not module.check_mode and (changes or memory.originals or memory.locks):
        gpu_settings_change.carry_out(ask, gpus, wanted, changes, memory)
    return {
        "changed": bool(changes),
        "changes": [{key: getattr(each, key) for key in ("gpu", "key", "before", "after")} for each in changes],
        "boot_commands": gpu_settings.boot_commands(wanted),
        "pending": gpu_settings.pending_reasons(gpus, changes),
        "diff": {
            "before": "".join(f"{each.gpu} {each.key}: {each.before}\n" for each in changes),
            "after": "".join(f"{each.gpu} {each.key}: {each.after}\n" for each in changes),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            # Checked in gpu_setting_wishes, whose refusals name the variable and the place in it.
            "settings": {"type": "list", "elements": "raw", "default": []},
            "ignore": {"type": "list", "elements": "raw", "default": []},
            "sysroot": {"type": "path", "default": "/"},
            "record": {"type": "path", "default": "/var/lib/tfserving-fleet/nvidia-driver/gpu-settings.json"},
            "boot_unit": {"type": "str", "default": "tfserving-fleet-gpu.service"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except WishError as error:
        module.fail_json(msg=str(error))
    except nvidia_smi.NvidiaSmiError as error:
        module.fail_json(msg=f"{gpu_setting_wishes.PATH}: {error}")


if __name__ == "__main__":
    main()
