#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Proves that the programs of monitoring on a host do what they are configured for."""

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_proof
short_description: Prove that Prometheus, Alertmanager or the node exporter of a host works
version_added: 0.2.0
description:
  - Asks each program whether it is ready, whether it runs with the present files, and, of Prometheus, whether it knows
    every target. Waits for that, and fails with the first thing that is not so.
options:
  programs:
    description: The programs, each with its C(kind), its C(port) and the C(files) that it has to have read.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: What it is.
        type: str
        choices: [prometheus, alertmanager, node]
        required: true
      port:
        description: Its port on this host.
        type: int
        required: true
      files:
        description: The files that it has to have read.
        type: list
        elements: path
        default: []
  targets:
    description: The instances of each job that Prometheus has to know.
    type: dict
    default: {}
  tls:
    description: Whether they take only TLS.
    type: bool
    default: false
  account:
    description: The account with which they are asked.
    type: str
    default: tfserving
  password:
    description: Its password. Empty for no accounts.
    type: str
    default: ""
  seconds:
    description: How long to wait for each.
    type: int
    default: 60
extends_documentation_fragment: tfserving.fleet.changes_nothing
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Prove Prometheus
  tfserving.fleet.monitoring_proof:
    programs:
      - {kind: prometheus, port: 9090, files: [/etc/prometheus/tfserving/prometheus.yml]}
    targets:
      node: [gpu-1, gpu-2]
"""

RETURN = r"""
proven:
  description: The kinds of the programs that were proven.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.monitoring import proof


def main() -> None:
    """Run the module."""
    program = {
        "kind": {"type": "str", "choices": ["prometheus", "alertmanager", "node"], "required": True},
        "port": {"type": "int", "required": True},
        "files": {"type": "list", "elements": "path", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "programs": {"type": "list", "elements": "dict", "options": program, "required": True},
            "targets": {"type": "dict", "default": {}},
            "tls": {"type": "bool", "default": False},
            "account": {"type": "str", "default": "tfserving"},
            "password": {"type": "str", "default": "", "no_log": True},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    wish = module.params
    programs = [
        proof.Program(each["kind"], each["port"], wish["tls"], wish["account"], wish["password"])
        for each in wish["programs"]
    ]
    files = {each["kind"]: each["files"] for each in wish["programs"]}
    try:
        proof.prove(programs, wish["targets"], files, wish["seconds"])
    except (RuntimeError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, proven=[each.kind for each in programs])


if __name__ == "__main__":
    main()
