#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a host has of the server already; the work is in module_utils/releases/found.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_state
short_description: Read which releases and packages of TensorFlow Serving a host has
version_added: 0.2.0
description:
  - Reads all that an installation of the server depends on, in one call, and changes nothing.
options:
  root:
    description: Directory with one directory a release.
    type: path
    default: /opt/tfserving/releases
  release:
    description: Directory of the wanted release.
    type: path
    required: true
  keep:
    description: How many of the releases stay, as M(tfserving.fleet.server_releases_prune) takes it.
    type: int
    default: 3
  in_use:
    description: Names of releases that stay in any case, as M(tfserving.fleet.server_releases_prune) takes them.
    type: list
    elements: str
    default: []
  method:
    description: What the release is made from. A package is looked for with V(apt) alone.
    type: str
    choices: [image, archive, apt]
    required: true
  package:
    description: The package of the server.
    type: str
    choices: [tensorflow-model-server, tensorflow-model-server-universal]
    default: tensorflow-model-server
  version:
    description: The wanted version of O(package), in whatever revision.
    type: str
    required: true
  tools:
    description: Other packages that are needed on the host.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reads only, so check mode is no different.
    support: full
requirements:
  - dpkg on the host for O(method=apt) and for O(tools)
author:
  - tfserving.fleet contributors (@tfserving)
seealso:
  - module: tfserving.fleet.server_release
  - module: tfserving.fleet.server_releases_prune
"""

EXAMPLES = r"""
- name: Read the server's releases and packages
  tfserving.fleet.server_state:
    release: /opt/tfserving/releases/tensorflow-model-server@2.19.1
    method: apt
    version: 2.19.1
    tools: [ca-certificates, gnupg]
  register: server

- name: Install the package
  ansible.builtin.apt:
    name: tensorflow-model-server=2.19.1*
  when: server.package.due
"""

RETURN = r"""
release_due:
  description: Whether the wanted release is missing.
  returned: success
  type: bool
prune_due:
  description: Whether there are releases to be removed, or may be once the wanted one is there.
  returned: success
  type: bool
missing_tools:
  description: Those of O(tools) that are not installed.
  returned: success
  type: list
  elements: str
package:
  description: What is to be done about the server's package; nothing, unless with O(method=apt).
  returned: success
  type: dict
  contains:
    due:
      description: Whether it has to be installed, since neither the release nor the wanted version is there.
      type: bool
    installed:
      description: Whether it is installed, in whatever version.
      type: bool
    held:
      description: Whether it is installed and on hold.
      type: bool
    rivals:
      description: Installed packages with the same files, which have to go first.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.found import read

ARGUMENTS = {
    "root": {"type": "path", "default": defaults.RELEASES},
    "release": {"type": "path", "required": True},
    "keep": {"type": "int", "default": 3},
    "in_use": {"type": "list", "elements": "str", "default": []},
    "method": {"type": "str", "choices": ["image", "archive", "apt"], "required": True},
    "package": {
        "type": "str",
        "choices": ["tensorflow-model-server", "tensorflow-model-server-universal"],
        "default": defaults.PACKAGE,
    },
    "version": {"type": "str", "required": True},
    "tools": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C"}
    try:
        module.exit_json(changed=False, **read(module.params, module.run_command))
    except WishError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
