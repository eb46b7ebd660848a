#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes the manifest of a bundle, as the last step of making one."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bundle_manifest
short_description: Finish a bundle with its manifest
version_added: 0.1.0
description:
  - Writes C(manifest.json) by rename and removes the bundle's files that it does not name. Run on the controller, after
    every M(tfserving.fleet.bundle_collect).
options:
  directory:
    description: The bundle.
    type: path
    required: true
  artifacts:
    description: The artifacts of the builders, each with C(path), C(sha256), C(size) and C(from).
    type: list
    elements: dict
    required: true
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Nothing is written.
    support: none
"""

EXAMPLES = r"""
- name: Finish the bundle
  tfserving.fleet.bundle_manifest:
    directory: /srv/bundle
    artifacts: "{{ collected.artifacts }}"
  delegate_to: localhost
"""

RETURN = r"""
sha256:
  description: The SHA-256 of the manifest, which stands for the whole bundle.
  returned: success
  type: str
bytes:
  description: Total size of all files in bytes.
  returned: success
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import manifest as bundle_manifest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "artifacts": {"type": "list", "elements": "dict", "required": True},
        }
    )
    directory, artifacts = module.params["directory"], module.params["artifacts"]
    try:
        changed = bundle_manifest.write(directory, artifacts)
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"bundle_dir: {directory} cannot be written ({error}); choose another place")
    digest = file_digest(os.path.join(directory, bundle_manifest.NAME))
    module.exit_json(changed=changed, sha256=digest, bytes=sum(entry["size"] for entry in artifacts))


if __name__ == "__main__":
    main()
