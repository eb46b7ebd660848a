#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stops a server that others have set up, and puts it back; how is in module_utils/survey/takeover.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_takeover
short_description: Stop a server that others have set up, or put it back
version_added: 0.2.0
description:
  - Stops a server by what has started it, so that nothing starts it again, and removes nothing. A unit is disabled and
    stopped; a container gets no restart policy and is stopped; a program of supervisord is stopped; a process that
    somebody has started gets SIGTERM. A container that a unit starts is stopped with its unit.
  - Records on the host what it has done, and puts exactly that back.
  - Refuses a process that is not the one of the survey, and an origin that has changed since.
  - The record of a process by hand holds its variables, since it could not be started again without. It is root's
    alone.
options:
  kind:
    description: The kind of the server's origin, as M(tfserving.fleet.serving_survey) tells it.
    type: str
    choices: [systemd, docker, podman, compose, supervisor, by_hand]
    required: true
  name:
    description: The name of the server's origin, as the survey tells it.
    type: str
    required: true
  state:
    description:
      - V(stopped) stops the server. V(started) puts back what V(stopped) has recorded, and does nothing without a
        record.
    type: str
    choices: [stopped, started]
    required: true
  pid:
    description: The server's process, as the survey tells it. Required to stop.
    type: int
  argv_sha256:
    description: The checksum of its command line, as the survey tells it. Required to stop.
    type: str
  definition:
    description: The C(sha256) of its origin, as the survey tells it. A unit or a program that differs is refused.
    type: str
  seconds:
    description: How long the server may take to end, or to begin, V(1) to V(3600).
    type: int
    default: 120
  record_folder:
    description: The folder of the records.
    type: path
    default: /var/lib/tfserving-fleet/takeover
attributes:
  check_mode:
    support: full
    description: Refuses what a run would refuse, and says what it would change.
  diff_mode:
    support: full
    description: Shows whether the server runs, and whether it starts at boot.
seealso:
  - module: tfserving.fleet.serving_survey
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Stop the old server
  tfserving.fleet.serving_takeover:
    kind: "{{ old.origin.kind }}"
    name: "{{ old.origin.name }}"
    pid: "{{ old.pid }}"
    argv_sha256: "{{ old.argv_sha256 }}"
    definition: "{{ old.origin.sha256 }}"
    state: stopped

- name: Put it back
  tfserving.fleet.serving_takeover:
    kind: systemd
    name: tf-serving.service
    state: started
"""

RETURN = r"""
before:
  description: The server before, with C(running), C(pid) and C(starts_at_boot).
  returned: success
  type: dict
after:
  description: The server after, or as it would be.
  returned: success
  type: dict
record:
  description: The file of the record; null without one.
  returned: success
  type: str
notes:
  description: What would start the server all the same, a sentence each.
  returned: success
  type: list
  elements: str
deed:
  description: What was done, or is to be put back, without values of variables.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import takeover


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kind": {
                "type": "str",
                "choices": ["systemd", "docker", "podman", "compose", "supervisor", "by_hand"],
                "required": True,
            },
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["stopped", "started"], "required": True},
            "pid": {"type": "int"},
            "argv_sha256": {"type": "str"},
            "definition": {"type": "str"},
            "seconds": {"type": "int", "default": 120},
            "record_folder": {"type": "path", "default": "/var/lib/tfserving-fleet/takeover"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**takeover.carry_out(takeover.check(module.params), takeover.Means(), module.check_mode))
    except WishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
