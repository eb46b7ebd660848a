#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fetches what a bundle holds, on a builder; the work is in the module_utils that begin with bundle_."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: bundle_collect
short_description: Collect what a fleet fetches over a network
version_added: 0.1.0
description:
  - Fetches, on a connected host of the targets' release, everything that C(site.yml) would fetch for the hosts in
    O(wishes), and copies it to a directory on the controller.
  - Packages come with all their dependencies, resolved as if nothing were installed, by a separate apt below
    O(root); the builder's sources, index and packages stay as they are.
  - Only missing files are fetched and sent. M(tfserving.fleet.bundle_manifest) writes the manifest afterwards, because
    several builders may bring their parts.
options:
  directory:
    description: The bundle on the controller. It is read by the action, not on the builder.
    type: str
  wishes:
    description: The wishes of each host, by host, as the role C(offline_bundle) collects them. Read by the action.
    type: dict
  root:
    description: Directory on the builder, kept so that a later run fetches only what is new. Its folder C(keys) holds
      the repositories' keys already.
    type: path
    default: /var/cache/tfserving-fleet-bundle
  packages:
    description: Lists of packages, each resolved together. Set by the action.
    type: list
    elements: list
    default: []
  repositories:
    description: Repositories besides the builder's own, with C(uri), C(suite), C(component), C(key) and C(key_url).
      Set by the action.
    type: list
    elements: dict
    default: []
  images:
    description: Images with C(reference) and C(path). Set by the action.
    type: list
    elements: dict
    default: []
  downloads:
    description: Files with C(where), C(path), C(url) and C(sha256). Set by the action.
    type: list
    elements: dict
    default: []
  headers:
    description: Headers of the request for a download, by its C(path), as JSON in Base64. Set by the
      action.
    type: str
    default: ""
  only_packages:
    description: Whether images and downloads are left to another builder. Read by the action.
    type: bool
    default: false
  mirrors:
    description: Registries to be tried before that of an image, as C(host:port/prefix).
    type: list
    elements: str
    default: []
  auth_file:
    description: File on the builder with the credentials of registries.
    type: path
  timeout:
    description:
      - Seconds of silence after which a download is given up.
      - A transfer of less than 64 KiB a second is given up as well, after its first minute.
    type: int
    default: 60
  send:
    description: Files to pack into O(parcel); nothing else is done then. Set by the action.
    type: list
    elements: str
  parcel:
    description: The tar to write them to. Set by the action.
    type: path
requirements:
  - apt and dpkg on the builder, skopeo for images
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Nothing is fetched.
    support: none
"""

EXAMPLES = r"""
- name: Collect what the fleet fetches
  tfserving.fleet.bundle_collect:
    directory: /srv/bundle
    wishes: "{{ dict(hosts | zip(wishes)) }}"
"""

RETURN = r"""
artifacts:
  description: The artifacts of this builder, as the manifest lists them.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path in the bundle.
      type: str
    sha256:
      description: Its SHA-256.
      type: str
    size:
      description: Its size in bytes.
      type: int
    from:
      description: Where it comes from, without credentials.
      type: str
sent:
  description: The files that were missing on the controller.
  returned: success
  type: list
  elements: str
"""

import base64
import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.collect import collect
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle.parcel import pack
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

ENTRIES = {"type": "list", "elements": "dict", "default": []}
ARGUMENTS = {
    "directory": {"type": "str"},
    "wishes": {"type": "dict", "no_log": True},
    "root": {"type": "path", "default": "/var/cache/tfserving-fleet-bundle"},
    "packages": {"type": "list", "elements": "list", "default": []},
    "repositories": ENTRIES,
    "images": ENTRIES,
    "downloads": ENTRIES,
    # One string: Ansible takes each secret value out of all that a module returns, and paths may hold a short one.
    "headers": {"type": "str", "default": "", "no_log": True},
    "only_packages": {"type": "bool", "default": False},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "auth_file": {"type": "path", "no_log": False},
    "timeout": {"type": "int", "default": 60},
    "send": {"type": "list", "elements": "str"},
    "parcel": {"type": "path"},
}


def send(root: str, paths: list[str], parcel: str) -> None:
    """Pack files for the user that the connection logs in as: who owns the directory of the parcel."""
    pack(root, paths, parcel)
    owner = os.stat(os.path.dirname(parcel))
    os.chown(parcel, owner.st_uid, owner.st_gid)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS)
    module.run_command_environ_update = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    os.umask(0o022)
    params = module.params
    try:
        if params["parcel"]:
            send(params["root"], params["send"], params["parcel"])
            module.exit_json(changed=False)
        headers = json.loads(base64.b64decode(params["headers"]) or "{}")
        module.exit_json(changed=False, artifacts=collect({**params, "headers": headers}, module.run_command))
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or params['root']}: {error.strerror or error}; check the builder's files"
        )


if __name__ == "__main__":
    main()
