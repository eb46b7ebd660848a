#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Proves by real calls that the installed HAProxy loses no gRPC reply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_probe
short_description: Prove by real calls that the installed HAProxy loses no gRPC reply
version_added: 0.2.0
description:
  - HAProxy before the end of 2023, as in Debian 12 and Ubuntu 24.04, loses up to a third of concurrent gRPC calls whose
    replies do not fit into its buffer. Version numbers do not tell, since distributions patch them; calls do.
  - Starts a throw-away HAProxy of the installed binary between a client and a server of its own, on UNIX sockets in a
    private directory. What serves is not touched.
  - Makes 16 calls at a time on one channel, with replies of all sizes around that of HAProxy's buffer. It takes about
    a second.
  - Fails if a call is lost. What it has passed with is recorded, and not tried again.
options:
  tune:
    description: The C(tune) settings of the gateway's configuration, each as a line of it.
    type: list
    elements: str
    default: []
  calls:
    description: How many calls to make.
    type: int
    default: 1200
  seconds:
    description: How long they may take together. What has no reply by then counts as lost.
    type: int
    default: 60
  binary:
    description: HAProxy's program.
    type: path
    default: /usr/sbin/haproxy
  record:
    description: Where the host remembers what has passed.
    type: path
    default: /var/lib/tfserving-fleet/gateway/probe.json
requirements:
  - h2 (Debian's python3-h2) on the host
attributes:
  check_mode:
    support: full
    description: Makes the calls, which change nothing, and writes no record.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Prove HAProxy with one call at a time on a connection
  tfserving.fleet.gateway_probe:
    tune: [tune.h2.max-concurrent-streams 1]
"""

RETURN = r"""
version:
  description: The version of HAProxy's program.
  type: str
  returned: where calls were made or had been before
calls:
  description: How many calls were made; 0 where the record says that they passed before.
  type: int
  returned: where calls were made or had been before
lost:
  description: How many of them got no whole reply.
  type: int
  returned: where calls were made or had been before
seconds:
  description: How long they took.
  type: float
  returned: where calls were made or had been before
words:
  description: How the first lost call failed.
  type: str
  returned: where calls were made or had been before
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import probe, proof


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "tune": {"type": "list", "elements": "str", "default": []},
            "calls": {"type": "int", "default": 1200},
            "seconds": {"type": "int", "default": 60},
            "binary": {"type": "path", "default": "/usr/sbin/haproxy"},
            "record": {"type": "path", "default": proof.PATH},
        },
        supports_check_mode=True,
    )
    wish = module.params
    try:
        found = proof.prove(
            wish["binary"], wish["tune"], wish["calls"], wish["seconds"], wish["record"], not module.check_mode
        )
    except (WishError, probe.ProbeError) as error:
        module.fail_json(msg=str(error))
    if found["lost"]:
        module.fail_json(msg=proof.verdict(found, wish["tune"]), **{**found, "changed": False})
    module.exit_json(**found)


if __name__ == "__main__":
    main()
