#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells how the programs of monitoring stand on a host, and remembers the fleet there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_state
short_description: Read how Prometheus, Alertmanager and the node exporter stand on a host
version_added: 0.2.0
description:
  - Reads what is installed and what runs, who else has the ports, and what disk and memory the host has for figures.
  - With O(fleet), remembers the serving hosts for runs that cannot reach them.
options:
  packages:
    description: Packages whose versions are returned, installed and in apt's index.
    type: list
    elements: str
    default: []
  laid_down:
    description: Files of the role at places that people may use as well.
    type: list
    elements: path
    default: []
  units:
    description: Units by name, each with the command line that its process should have.
    type: dict
    default: {}
  ports:
    description: TCP ports that belong to O(units) alone.
    type: list
    elements: int
    default: []
  data:
    description: The folder of the figures. Empty for none.
    type: str
    default: ""
  fleet:
    description: What the host is to remember of the serving hosts.
    type: dict
  fleet_record:
    description: Where it remembers that.
    type: path
    default: /var/lib/tfserving-fleet/monitoring/fleet.json
attributes:
  check_mode:
    support: full
    description: Says whether it would change the record.
  diff_mode:
    support: none
    description: It changes nothing but the record.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the monitoring host
  tfserving.fleet.monitoring_state:
    packages: [prometheus]
    data: /var/lib/prometheus
  register: monitoring
"""

RETURN = r"""
packages:
  description: The C(installed) version and apt's C(candidate) of each of O(packages), empty where there is none.
  type: dict
  returned: success
edited:
  description: Configuration files of O(packages) that somebody has changed.
  type: list
  elements: str
  returned: success
foreign:
  description: Those of O(laid_down) that are there and somebody else's.
  type: list
  elements: str
  returned: success
units:
  description: Of each unit whether it C(runs), and whether its process is C(stale), not the wanted command or program.
  type: dict
  returned: success
others:
  description: Processes that listen on O(ports) and are not O(units), in words, by port.
  type: dict
  returned: success
disk_mb:
  description: What the file system of O(data) has free, and what is in O(data) already; 0 if unknown.
  type: int
  returned: success
memory_mb:
  description: The host's memory; 0 if unknown.
  type: int
  returned: success
fleet:
  description: What the host remembers of the serving hosts.
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.state import packages
from ansible_collections.tfserving.fleet.plugins.module_utils.host.fleet_record import remember
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import runner
from ansible_collections.tfserving.fleet.plugins.module_utils.monitoring import state


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "laid_down": {"type": "list", "elements": "path", "default": []},
            "units": {"type": "dict", "default": {}},
            "ports": {"type": "list", "elements": "int", "default": []},
            "data": {"type": "str", "default": ""},
            "fleet": {"type": "dict"},
            "fleet_record": {"type": "path", "default": state.FLEET_RECORD},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    wish, run = module.params, runner(module)
    try:
        known, learned = remember(wish["fleet_record"], state.SERVING_HOST, wish["fleet"], module.check_mode)
        module.exit_json(
            changed=learned,
            fleet=known,
            packages=packages(run, wish["packages"]),
            edited=[path for name in wish["packages"] for path in state.edited(run, name)],
            foreign=state.foreign(wish["laid_down"]),
            **state.read(run, wish["units"], wish["ports"], wish["data"]),
        )
    except (RuntimeError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
