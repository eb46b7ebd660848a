#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a diagnosis wants to know of a host, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_evidence
short_description: Read what a diagnosis wants to know of a host
version_added: 0.2.0
description:
  - Takes two samples of the counters of a serving host or a gateway, and reads meanwhile what its kernel, units,
    servers, GPUs and logs tell. docs/evidence.md has the schema of what it returns.
  - Installs and changes nothing. What cannot be read is listed in C(unread), and fails nothing.
  - Asks each model of an instance for its status once, by REST, which the server counts as a request.
  - Reads no key, no certificate's content and no value of the environment.
options:
  host:
    description: The name of the host in the inventory. Without it, the host's own.
    type: str
  instances:
    description: The instances to look at, of the plan in force. Without it, all.
    type: list
    elements: str
  seconds:
    description: The time between the samples, V(1) to V(60).
    type: int
    default: 10
  sections:
    description:
      - What to read, of V(host), V(instances), V(server), V(files), V(logs), V(gpus) and V(gateway). Without it, all.
    type: list
    elements: str
  resolve:
    description: Names to look up, to see how long that takes; at most five.
    type: list
    elements: str
  certificates:
    description: Files of certificates whose dates to read.
    type: list
    elements: path
  record:
    description: The plan in force on the host.
    type: path
    default: /etc/tfserving/plan.json
  haproxy_socket:
    description: The admin socket of HAProxy, on a gateway.
    type: path
    default: /run/haproxy/admin.sock
extends_documentation_fragment: tfserving.fleet.changes_nothing.reads
seealso:
  - module: tfserving.fleet.diagnosis_keep
  - module: tfserving.fleet.host_samples
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read the evidence
  tfserving.fleet.diagnosis_evidence:
    host: "{{ inventory_hostname }}"
    instances: [ranker]
  register: diagnosis_evidence
"""

RETURN = r"""
evidence:
  description: The evidence, as docs/evidence.md describes it.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import collect
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str"},
            "instances": {"type": "list", "elements": "str"},
            "seconds": {"type": "int", "default": 10},
            "sections": {"type": "list", "elements": "str"},
            "resolve": {"type": "list", "elements": "str"},
            "certificates": {"type": "list", "elements": "path"},
            "record": {"type": "path", "default": "/etc/tfserving/plan.json"},
            "haproxy_socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, evidence=collect.collect(collect.check(module.params), collect.Means()))
    except WishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
