#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks golden requests of a new version from a gateway; how is in module_utils/gateway/golden_answers.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: golden_answers
short_description: Ask golden requests of a new version, and compare it with the one before
version_added: 0.2.0
description:
  - For a host that has loaded the new version of a roll-out and gets no traffic yet. To be delegated to a gateway,
    which asks the host's servers themselves, past HAProxy, over REST and over gRPC.
  - The new version has to answer as the golden requests expect over both, and the same over both. A model without
    golden requests is asked the request of its C(probe), which expects nothing but an answer.
  - How the answers differ from those of the version before is returned, as figures for people.
  - Does not fail for what it finds; see RV(wrong) and RV(unproven). Which servers there are, the action of the same
    name reads from C(tfserving_plan) of the hosts.
options:
  model:
    description: The model that is rolled out.
    type: str
    required: true
  old:
    description: The version in force before.
    type: int
    required: true
  new:
    description: The version to be proven.
    type: int
    required: true
  controls:
    description: Hosts that serve the version before, to be asked for it where the server does not have it any more.
    type: list
    elements: str
    default: []
  requests:
    description: Golden requests as the plan has them. Set by the action.
    type: list
    elements: dict
    default: []
  origin:
    description: The file that they are from, for messages. Set by the action.
    type: str
    default: ""
  servers:
    description:
      - The servers to ask, each with C(name), C(address), the ports C(rest) and C(grpc), whether its gRPC C(encrypts),
        and the same of the server that has the version C(before). Set by the action.
    type: list
    elements: dict
    default: []
  authority:
    description: The authorities that have signed the certificates of servers that take TLS.
    type: path
    default: /etc/haproxy/tfserving/server-ca.pem
  certificate:
    description: The gateway's own certificate and key for such servers, where the file is there.
    type: path
    default: /etc/haproxy/tfserving/server.pem
requirements:
  - h2 (Debian's python3-h2) on the host, for gRPC
attributes:
  check_mode:
    support: full
    description: Asks in check mode as well.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: tfserving.fleet.gateway_probe
  - module: tfserving.fleet.rollout_servers
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Compare the answers of both versions
  tfserving.fleet.golden_answers:
    model: ranker
    old: 7
    new: 8
    controls: [gpu-a04]
  delegate_to: edge-1
  register: answers
"""

RETURN = r"""
servers:
  description:
    - For each server the faults of the new version, C(wrong), what kept requests from being asked, C(unproven), and
      the largest C(differences) from the version before by output, C(max_abs) and C(max_rel), null where there is no
      measure.
  type: list
  elements: dict
  returned: always
wrong:
  description: Why the version must not serve, in a sentence; empty if it may.
  type: str
  returned: always
unproven:
  description: What kept requests from being asked, in a sentence. It is not the version's fault.
  type: str
  returned: always
text:
  description: All of it for people, in lines.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import golden_answers


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "str", "required": True},
            "old": {"type": "int", "required": True},
            "new": {"type": "int", "required": True},
            "controls": {"type": "list", "elements": "str", "default": []},
            "requests": {"type": "list", "elements": "dict", "default": []},
            "origin": {"type": "str", "default": ""},
            "servers": {"type": "list", "elements": "dict", "default": []},
            "authority": {"type": "path", "default": "/etc/haproxy/tfserving/server-ca.pem"},
            "certificate": {"type": "path", "default": "/etc/haproxy/tfserving/server.pem"},
        },
        supports_check_mode=True,
    )
    try:
        wish, servers = golden_answers.read(module.params)
    except (KeyError, TypeError, ValueError):
        module.fail_json(msg="servers: are none; leave them to the action, which reads them from the plans")
    module.exit_json(changed=False, **golden_answers.carry_out(wish, servers))


if __name__ == "__main__":
    main()
