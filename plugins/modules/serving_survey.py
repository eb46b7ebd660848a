#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads which servers run on a host, whoever has set them up, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_survey
short_description: Read which servers run on a host, whoever has set them up
version_added: 0.2.0
description:
  - Finds every process of C(tensorflow_model_server), in any container and below any wrapper, and what has started it
    (a unit of systemd, Docker, Podman, compose, supervisord, or somebody by hand).
  - Reads its command line, the files that its flags name as the server finds them, its models on disk with their
    checksums, where it listens, its GPUs and its limits.
  - Asks each server what it serves, by REST or by gRPC, and never for a prediction. The server counts the question
    for a model's status as a request.
  - Reads units, containers and programs that do not run and would start a server.
  - Installs and changes nothing. What cannot be read is listed in C(unread), and fails nothing.
  - Secrets are taken out where they are read, in command lines, addresses, texts and the environment, of which only
    those values are kept that a server reads. Keys and certificates are not read at all.
options:
  host:
    description: The name of the host in the inventory. Without it, the host's own.
    type: str
  seconds:
    description:
      - The time that the checksums of all models may take altogether, V(1) to V(3600). A version that would take longer
        is listed without its checksum.
    type: int
    default: 60
extends_documentation_fragment: tfserving.fleet.changes_nothing.reads
seealso:
  - module: tfserving.fleet.serving_takeover
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Survey the servers
  tfserving.fleet.serving_survey:
    host: "{{ inventory_hostname }}"
  register: serving_survey
"""

RETURN = r"""
survey:
  description: The servers, what would start more of them, and what could not be read.
  returned: success
  type: dict
  contains:
    schema:
      description: The version of this form.
      type: int
    host:
      description: The name of the host.
      type: str
    root:
      description: Whether the survey had the rights of root, without which it sees little.
      type: bool
    servers:
      description: The servers that run, one mapping each.
      type: list
      elements: dict
    launchers:
      description: What does not run and would start a server.
      type: list
      elements: dict
    unread:
      description: What could not be read, with C(source) and C(why).
      type: list
      elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import collect


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"host": {"type": "str"}, "seconds": {"type": "int", "default": 60}},
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, survey=collect.survey(collect.check(module.params), collect.Means()))
    except WishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
