#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the signing key of a package archive in a keyring file, pinned by its fingerprint."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: Keep an archive's signing key in a keyring file, pinned by fingerprint
version_added: 0.1.0
description:
  - Puts one OpenPGP key into a file for C(signed-by), after proving that the file holds the pinned key and no other.
  - Fetches only when there is a reason, which is a missing file, another key in it, or a key that has expired or soon
    will. Some publishers, TensorFlow Serving's among them, republish the same key with a new date each year.
  - A key file is only ever replaced by one that is valid for at least as long.
options:
  source:
    description:
      - Where the key comes from, an C(http) or C(https) URL or the path of a file on the host. Armoured and binary
        files both will do. Plain C(http) is no weaker here, since the fingerprint decides.
    type: str
  content:
    description: The armoured key itself.
    type: str
  fingerprint:
    description: The fingerprint of the primary key, 40 hexadecimal digits. Blanks may separate groups.
    type: str
    required: true
  path:
    description: The keyring file. A name that ends in C(.asc) is written armoured, any other binary.
    type: path
    required: true
  warn_days:
    description: Warn, and look for a newer edition of the key, when it expires within this many days.
    type: int
    default: 30
  allow_expired:
    description:
      - Install the key although it has expired. Packages that are installed already are not touched by an expired key,
        but the archive's index cannot be refreshed.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the web server.
    type: int
    default: 30
  mode:
    description: Permissions of the keyring file. The C(_apt) user must be able to read it.
    type: raw
    default: "0644"
  tree:
    description:
      - A tree of M(tfserving.fleet.template_tree) that the keyring belongs to. Before it is written, the tree learns
        how it was, so that C(state=restored) of the tree brings it back, or removes it where there was none.
    type: str
    default: ""
  state_path:
    description: Where the records of the trees are.
    type: path
    default: /var/lib/tfserving-fleet/trees
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description:
      - Fetches and verifies without writing. On a host that has no C(gpg) yet it warns that the key was not verified.
  diff_mode:
    support: full
    description: Shows the key's fingerprint, names and expiry before and after.
requirements:
  - gpg (Debian package C(gnupg)) on the host
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Trust TensorFlow Serving's archive
  tfserving.fleet.signing_key:
    source: https://storage.googleapis.com/tensorflow-serving-apt/tensorflow-serving.release.pub.gpg
    fingerprint: 916E 2B2F EBC2 7493 0BAC A9D9 544B 7F63 BF9E 4D5F
    path: /etc/apt/keyrings/tensorflow-serving.gpg

- name: Trust a mirror that signs with its own key
  tfserving.fleet.signing_key:
    content: "{{ lookup('ansible.builtin.file', 'mirror.asc') }}"
    fingerprint: "{{ mirror_fingerprint }}"
    path: /etc/apt/keyrings/mirror.asc
"""

RETURN = r"""
path:
  description: The keyring file.
  returned: always
  type: str
fingerprint:
  description: The fingerprint of the key, without blanks.
  returned: success
  type: str
user_ids:
  description: The names that the key carries.
  returned: when the key was verified
  type: list
  elements: str
expires:
  description: The day on which the key expires (UTC, ISO 8601); empty for never.
  returned: when the key was verified
  type: str
expires_in_days:
  description: Whole days until then, negative once it has expired; null for never.
  returned: when the key was verified
  type: int
fetched:
  description: Whether the source was read.
  returned: when the key was verified
  type: bool
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.keyring import Keyring, keep
from ansible_collections.tfserving.fleet.plugins.module_utils.host.signing_keys import normalised
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import STATE_PATH


def insist_on_gpg(module: AnsibleModule) -> None:
    """End the module where nothing can be verified: with an error, or in check mode with a guess and a warning."""
    if module.get_bin_path("gpg"):
        return
    path = module.params["path"]
    if not module.check_mode:
        module.fail_json(
            msg=f"{path}: gpg is needed to verify the key and is not on this host; install gnupg", path=path
        )
    module.warn(f"{path}: gpg is not on this host yet, so the key was not verified")
    fingerprint = normalised(module.params["fingerprint"])
    module.exit_json(changed=not os.path.exists(path), path=path, fingerprint=fingerprint)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str"},
            "content": {"type": "str", "no_log": False},
            "fingerprint": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "warn_days": {"type": "int", "default": 30},
            "allow_expired": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 30},
            "mode": {"type": "raw", "default": "0644"},
            "tree": {"type": "str", "default": ""},
            "state_path": {"type": "path", "default": STATE_PATH},
        },
        mutually_exclusive=[("source", "content")],
        required_one_of=[("source", "content")],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        keyring = Keyring(module, time.time())
        insist_on_gpg(module)
        module.exit_json(**keep(keyring))
    except WishError as error:
        module.fail_json(msg=str(error), path=module.params["path"])


if __name__ == "__main__":
    main()
