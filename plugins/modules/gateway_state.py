#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells what a gateway's HAProxy runs, and sets entries of its maps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_state
short_description: Read what a gateway's HAProxy runs, and set entries of its maps
version_added: 0.2.0
description:
  - Asks HAProxy over its own sockets what it runs and how its servers are, and looks who listens on its ports.
  - HAProxy shares its ports. A second process on one of them is an error for nobody, and takes half of the connections.
  - With O(generation), waits until the worker runs that configuration, or fails with HAProxy's own words.
  - With O(maps), changes entries in the files of the maps and in the running process in one step, without a reload, and
    reads them back.
options:
  packages:
    description: Packages whose versions are returned, installed and in apt's index.
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports that belong to HAProxy alone.
    type: list
    elements: int
    default: []
  generation:
    description: The generation of the configuration that the worker has to run, as its C(description) names it.
    type: str
    default: ""
  seconds:
    description: How long to wait for O(generation).
    type: int
    default: 30
  maps:
    description: Entries to be set, by the path of the map's file, each a mapping of keys to values. Others stay.
    type: dict
    default: {}
  fleet:
    description: What the gateway is to remember of the serving hosts, for runs that cannot reach them.
    type: dict
  fleet_record:
    description: Where it remembers that.
    type: path
    default: /var/lib/tfserving-fleet/gateway/fleet.json
  socket:
    description: The socket of the worker (C(stats socket), level C(admin)).
    type: path
    default: /run/haproxy/admin.sock
  master_socket:
    description: The socket of the master process (option C(-S)).
    type: path
    default: /run/haproxy-master.sock
  unit:
    description: The unit of HAProxy.
    type: str
    default: haproxy.service
attributes:
  check_mode:
    support: full
    description: Says which entries of maps and which records it would change.
  diff_mode:
    support: none
    description: The entries that differ are in RV(changed_maps).
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the gateway
  tfserving.fleet.gateway_state:
    packages: [haproxy]
    ports: [8080, 9500]
  register: gateway

- name: Send a twentieth of the calls to the canary
  tfserving.fleet.gateway_state:
    maps:
      /etc/haproxy/maps/canary.map:
        ranker: 50
"""

RETURN = r"""
packages:
  description: The C(installed) version and apt's C(candidate) of each of O(packages), empty where there is none.
  type: dict
  returned: success
fleet:
  description: What the gateway remembers of the serving hosts, by host.
  type: dict
  returned: success
running:
  description: Whether HAProxy runs. If not, nothing below but RV(problems) and RV(others) holds anything.
  type: bool
  returned: success
silent:
  description: Whether it runs with our socket and does not answer there, so that nobody knows what its servers carry.
  type: bool
  returned: success
version:
  description: The version of the running worker, which may be older than the installed one.
  type: str
  returned: success
generation:
  description: The generation of the configuration that the worker runs, empty if its configuration names none.
  type: str
  returned: success
logs:
  description: Whether the worker's C(/dev/log) is the host's own, so that its lines reach the journal.
  type: bool
  returned: success
processes:
  description: >-
    The C(master) with its number of reloads that C(failed) in a row, its C(workers), and its C(old_workers), which
    finish their calls.
  type: dict
  returned: success
info:
  description: What HAProxy says of itself (C(show info)), by name.
  type: dict
  returned: success
frontends:
  description: Figures of each frontend by its name.
  type: dict
  returned: success
backends:
  description: >-
    Figures of each backend by its name, and of its C(servers) by theirs. C(status), C(scur) and C(qcur) are calls in
    progress and in the queue, C(rate) new ones in the last second, C(econ) and C(eresp) failed connections and replies,
    C(last_agt) the last words of the server's gate. Counts begin anew with every reload.
  type: dict
  returned: success
problems:
  description: A sentence for each port that HAProxy does not have for itself, or why it does not run.
  type: list
  elements: str
  returned: success
others:
  description: >-
    The processes that listen on ports of the host and are not HAProxy, in words, by port. It is empty with
    O(generation).
  type: dict
  returned: success
changed_maps:
  description: The entries that differed, by path and key, with their values in the C(file), C(running) and C(wanted).
  type: dict
  returned: success
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import maps, runtime, state
from ansible_collections.tfserving.fleet.plugins.module_utils.host.fleet_record import remember
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import runner


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "generation": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 30},
            "maps": {"type": "dict", "default": {}},
            "fleet": {"type": "dict"},
            "fleet_record": {"type": "path", "default": state.FLEET_RECORD},
            "socket": {"type": "path", "default": state.Place.socket},
            "master_socket": {"type": "path", "default": state.Place.master_socket},
            "unit": {"type": "str", "default": state.Place.unit},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    wish = module.params
    place = state.Place(wish["socket"], wish["master_socket"], wish["unit"])
    run = runner(module)
    try:
        if wish["generation"]:
            found = state.await_generation(run, place, wish["generation"], wish["ports"], wish["seconds"])
        else:
            found = state.read(run, place, wish["ports"], with_others=True)
        changed = maps.put(wish["maps"], partial(runtime.ask, wish["socket"]), module.check_mode)
        known, learned = remember(wish["fleet_record"], state.SERVING_HOST, wish["fleet"], module.check_mode)
    except (RuntimeError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=learned or bool(changed),
        changed_maps=changed,
        fleet=known,
        packages=state.packages(run, wish["packages"]),
        **found,
    )


if __name__ == "__main__":
    main()
