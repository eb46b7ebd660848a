#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Puts the plan's kernel settings in force on a running host; how is in module_utils/kernel/settings.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kernel_settings
short_description: Apply kernel settings at once, or restore the original ones
version_added: 0.1.0
description:
  - Writes sysctl and sysfs settings of the running kernel and reads every one back, because what counts is what the
    kernel accepted.
  - Records the value that each setting had before it was changed for the first time. A setting that is no longer
    wanted gets that value back.
  - It does not write the files that make the settings outlast a reboot; it only checks whether other files override
    them, and then leaves the setting as the next boot will have it.
options:
  settings:
    description: The part C(kernel) of the plan, with C(sysctl), C(sysfs), C(modules), C(least) and C(live).
    type: dict
    default: {}
  state:
    description:
      - V(present) brings the kernel in line with O(settings).
      - V(absent) restores everything that was ever changed.
    type: str
    choices: [present, absent]
    default: present
  require_live:
    description:
      - Whether the run fails when the kernel refuses a setting. What the run had set until then is undone.
      - Settings that this kernel does not have are never an error.
      - V(auto) leaves it to C(live) of O(settings), that is, to whether the kernel is the host's own.
    type: str
    choices: [auto, "true", "false"]
    default: "true"
  boot_file:
    description: The file from which the next boot takes the settings.
    type: path
    default: /etc/sysctl.d/90-tfserving-fleet.conf
  record:
    description: File that records the original values.
    type: path
    default: /var/lib/tfserving-fleet/kernel.json
attributes:
  check_mode:
    support: full
    description: Says what would be set. Whether the kernel would accept a value, only a real run can show.
  diff_mode:
    support: full
    description: Shows each setting before and after.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Apply the settings
  tfserving.fleet.kernel_settings:
    settings: "{{ tfserving_plan.kernel }}"

- name: Restore the original settings
  tfserving.fleet.kernel_settings:
    state: absent
"""

RETURN = r"""
settings:
  description: What became of each setting.
  returned: always
  type: list
  elements: dict
  contains:
    key:
      description: Name of the setting, for sysfs its path.
      type: str
    wanted:
      description: The value that the plan, or the record, has for it.
      type: str
    before:
      description: The value before; null where this kernel has no such setting.
      type: str
    after:
      description: The value that the kernel has now, or would have.
      type: str
    status:
      description:
        - V(kept) (was so already), V(set), V(missing) (this kernel has no such setting), V(refused) (the kernel did not
          take the value) or V(overruled) (a file that a boot reads later says otherwise).
      type: str
    detail:
      description: Why, where it is neither kept nor set.
      type: str
  sample:
    - {key: net.core.somaxconn, wanted: "16384", before: "4096", after: "16384", status: set, detail: ""}
modules:
  description: Kernel modules that were loaded, or would be.
  returned: always
  type: list
  elements: str
problems:
  description: A sentence for all settings that are not in force for the same reason, and for every limit too low.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import modules as kernel_modules
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import settings as kernel_live

EMPTY: dict[str, list[Any]] = {"sysctl": [], "sysfs": [], "modules": [], "least": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "require_live": {"type": "str", "choices": ["auto", "true", "false"], "default": "true"},
            "boot_file": {"type": "path", "default": "/etc/sysctl.d/90-tfserving-fleet.conf"},
            "record": {"type": "path", "default": "/var/lib/tfserving-fleet/kernel.json"},
        },
        supports_check_mode=True,
    )
    try:
        run(module)
    except (WishError, OSError) as error:
        module.fail_json(msg=str(error))


def run(module: AnsibleModule) -> None:
    """Do what the parameters say and end the module."""
    options = module.params
    wanted = {**EMPTY, **(options["settings"] if options["state"] == "present" else {})}
    kernel = kernel_live.Kernel(dry=module.check_mode)
    record = kernel_live.Originals(options["record"])
    names = [each["name"] for each in wanted["modules"]]
    loaded, troubles = kernel_modules.load(process_facts.runner(module), module.check_mode, names)
    outcomes = kernel_live.apply(kernel, record, wanted, options["boot_file"])
    refused = [outcome for outcome in outcomes if outcome.status == kernel_live.REFUSED]
    result = {
        "changed": bool(loaded) or any(outcome.status == kernel_live.SET for outcome in outcomes),
        "settings": [outcome.report() for outcome in outcomes],
        "modules": loaded,
        "problems": [
            *troubles,
            *kernel_live.told(outcomes),
            *kernel_live.low(kernel, wanted),
        ],
        "diff": difference(outcomes),
    }
    if refused and kernel_live.insists(options["require_live"], options["settings"]):
        paths = {key: path for key, path, _value in kernel_live.wanted_values(kernel, wanted)}
        kernel_live.take_back(kernel, outcomes, paths)
        more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
        remedy = "leave it out, or set kernel_tuning_require_live to false to go on without"
        module.fail_json(msg=f"{refused[0]}{more}; {remedy}", **{**result, "changed": False})
    module.exit_json(**result)


def difference(outcomes: list[kernel_live.Outcome]) -> dict[str, str]:
    """Return the settings that change, before and after."""
    changing = [outcome for outcome in outcomes if outcome.status == kernel_live.SET]
    return {
        "before": "".join(f"{outcome.key} = {outcome.before}\n" for outcome in changing),
        "after": "".join(f"{outcome.key} = {outcome.after}\n" for outcome in changing),
    }


if __name__ == "__main__":
    main()
