#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells whether a gateway's store of answers runs and is used."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_cache
short_description: Read whether a gateway's store of answers runs and is used
version_added: 0.2.0
description:
  - Asks the store on its own socket which configuration it has, and HAProxy whether it sends calls there.
  - With O(generation), waits until both are as they should be, or fails with the store's own words.
options:
  generation:
    description: The generation that the store has to answer with.
    type: str
    default: ""
  has_redis:
    description: Whether answers are kept in Redis, whose limit of memory is read then; one without a limit is refused.
    type: bool
    default: false
  seconds:
    description: How long to wait for O(generation).
    type: int
    default: 60
  unit:
    description: The unit of the store.
    type: str
    default: tfserving-cache.service
  socket:
    description: The socket of the store.
    type: path
    default: /var/lib/haproxy/tfserving-cache/store.sock
  haproxy:
    description: The socket of HAProxy's worker.
    type: path
    default: /run/haproxy/admin.sock
attributes:
  check_mode:
    support: full
    description: Changes nothing anyway.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Verify the cache
  tfserving.fleet.gateway_cache:
    generation: "{{ plan.cache.generation }}"
"""

RETURN = r"""
present:
  description: Whether the host has a unit of the store.
  type: bool
  returned: success
running:
  description: Whether the store runs.
  type: bool
  returned: success
answers:
  description: The generation that answers on the store's socket, empty where none does.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import store, store_limit
from ansible_collections.tfserving.fleet.plugins.module_utils.host.process import runner


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "generation": {"type": "str", "default": ""},
            "has_redis": {"type": "bool", "default": False},
            "seconds": {"type": "int", "default": 60},
            "unit": {"type": "str", "default": store.Place.unit},
            "socket": {"type": "path", "default": store.Place.socket},
            "haproxy": {"type": "path", "default": store.Place.haproxy},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}
    wish = module.params
    place = store.Place(wish["unit"], wish["socket"], wish["haproxy"])
    run = runner(module)
    try:
        if wish["generation"]:
            found = store.await_use(run, place, wish["generation"], wish["seconds"])
            refused = store_limit.refusal(place.socket) if wish["has_redis"] else ""
            if refused:
                module.fail_json(msg=refused)
        else:
            found = store.read(run, place)
    except RuntimeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, present=found["present"], running=found["running"], answers=found["generation"])


if __name__ == "__main__":
    main()
