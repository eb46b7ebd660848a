#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stops the units that use GPUs for a change and starts them again; how is in module_utils/host/pause.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gpu_clients
short_description: Stop the units that use GPUs for a change, and start the same ones again
version_added: 0.1.0
description:
  - Records on the host which units it stopped. A run that is killed in between leaves that record, and the next run
    starts them.
  - Starts nothing that it did not stop itself.
options:
  state:
    description:
      - V(stopped) stops the units that run and match O(units).
      - V(started) starts the recorded units, in reverse order.
    type: str
    choices: [stopped, started]
    required: true
  units:
    description: Patterns of units to stop, such as V(tfserving@*.service).
    type: list
    elements: str
    default: []
  record:
    description: File that records the stopped units.
    type: path
    default: /var/lib/tfserving-fleet/nvidia-driver/stopped.json
attributes:
  check_mode:
    support: full
    description: Says which units would be stopped or started.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Change the driver with the servers out of the way
  block:
    - name: Stop what uses the GPUs
      tfserving.fleet.gpu_clients:
        state: stopped
        units: ["tfserving@*.service"]
  always:
    - name: Start it again
      tfserving.fleet.gpu_clients:
        state: started
"""

RETURN = r"""
units:
  description: Units that were stopped or started, or would be.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.pause import Pause


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["stopped", "started"], "required": True},
            "units": {"type": "list", "elements": "str", "default": []},
            "record": {"type": "path", "default": "/var/lib/tfserving-fleet/nvidia-driver/stopped.json"},
        },
        supports_check_mode=True,
    )
    pause = Pause(process_facts.runner(module), module.params["record"])
    try:
        stopping = module.params["state"] == "stopped"
        units = pause.active(module.params["units"]) if stopping else pause.remembered()
        if not module.check_mode:
            if stopping:
                pause.stop(units)
            else:
                pause.start()
        module.exit_json(changed=bool(units), units=units)
    except (RuntimeError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
