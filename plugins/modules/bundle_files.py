#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the part of a bundle on a host that this host installs from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bundle_files
short_description: Install from a bundle instead of a network
version_added: 0.1.0
description:
  - Compares a bundle on the controller with its manifest, file by file, and refuses it before the host is touched.
  - Copies what apt needs to the host, and the image of the wanted server where the host has no such release. Only
    missing files are sent; files that are no longer needed are removed.
  - Returns the variables that the host has instead of the inventory's. Models and archives stay on the controller, from
    where the roles send them.
  - Writes a configuration with which apt sees nothing but the bundle. It is used where C(APT_CONFIG) names it.
options:
  directory:
    description: The bundle on the controller. Read by the action.
    type: str
  wishes:
    description: The wishes of the host, as the role C(offline_bundle) collects them. Read by the action.
    type: dict
  release:
    description: The release of the host's distribution.
    type: str
    required: true
  root:
    description: Directory on the host.
    type: path
    default: /var/lib/tfserving-fleet/bundle
  files:
    description: The files, with C(path), C(sha256), C(size) and C(unless). Set by the action.
    type: list
    elements: dict
    default: []
  parcel:
    description: A tar on the host with the missing files. Set by the action.
    type: path
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Can run in check mode.
    details: Only the index of the packages is copied, so that apt can say what it would install. An
      index is a copy of public data and configures nothing.
    support: partial
"""

EXAMPLES = r"""
- name: Bring what is installed from the bundle
  tfserving.fleet.bundle_files:
    directory: /srv/bundle
    wishes: "{{ wish }}"
    release: "{{ ansible_facts['distribution_release'] }}"
"""

RETURN = r"""
variables:
  description: The values that replace the inventory's variables of these names.
  returned: success
  type: dict
brought:
  description: The files that were missing on the host.
  returned: success
  type: list
  elements: str
refresh:
  description: Whether apt has to read the index again.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.host import keep
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.names import ROOT
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str"},
            "wishes": {"type": "dict", "no_log": True},
            "release": {"type": "str", "required": True},
            "root": {"type": "path", "default": ROOT},
            "files": {"type": "list", "elements": "dict", "default": []},
            "parcel": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**keep(module.params, module.check_mode))
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or module.params['root']}: {error.strerror or error}; check that host's files"
        )


if __name__ == "__main__":
    main()
