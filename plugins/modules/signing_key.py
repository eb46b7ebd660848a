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
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import folders
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archives import RefusalError, opened
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.signing_keys import (
    DAY_S,
    MOST_BYTES,
    Key,
    armoured,
    date,
    normalised,
    verified,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import STATE_PATH
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.web import address as web_address
from ansible_collections.tfserving.fleet.plugins.module_utils.web import fetching

LATER = "its publisher has to publish it anew: run again later, use a mirror that signs with a key of its own, or set "


@dataclass(frozen=True)
class KeyFile:
    """A verified key and its binary form; ``in_form`` says that the file on disk has the form its name promises."""

    key: Key
    binary: bytes
    in_form: bool = True


class Keyring:
    """The work of one run."""

    def __init__(self, module: AnsibleModule, now: float) -> None:
        self.module = module
        self.now = now
        self.path = module.params["path"]
        self.fingerprint = normalised(module.params["fingerprint"])
        self.fetched = False

    def present(self) -> KeyFile | None:
        """Return the pinned key as it stands on disk, or None where the file is missing or holds anything else."""
        try:
            with open(self.path, "rb") as file:
                data = file.read(MOST_BYTES)
            binary, key = verified(data, self.fingerprint, self.path, self._gpg)
        except (FileNotFoundError, WishError):
            return None
        return KeyFile(key, binary, (binary == data) != self._armoured)

    def wanted(self, present: KeyFile | None) -> KeyFile:
        """Return the key that shall stand on disk. Raises WishError."""
        if present and self.module.params["source"] and self._remote and not self._ageing(present.key):
            return present
        try:
            offered = KeyFile(*self._offered())
        except OSError as error:
            return self._kept(present, error)
        return present if present and _outlives(present.key, offered.key) else offered

    def _kept(self, present: KeyFile | None, error: OSError) -> KeyFile:
        """Return the key that stays because its source cannot be read, where it is of use."""
        problem = f"cannot be read ({error})"
        if present is None:
            raise WishError(self._where, problem, "check that it can be reached")
        if present.key.expired(self.now) and not self.module.params["allow_expired"]:
            problem += f", and the key in {self.path} expired on {date(present.key.expires)}"
            raise WishError(self._where, problem, f"{LATER}allow_expired to keep it all the same")
        self.module.warn(f"{self._where}: {problem}, so {self.path} stays as it is")
        return present

    def insist_on_life(self, key: Key) -> None:
        """Raise WishError for a key that has expired or is yet to come, warn about one that soon will expire."""
        days = key.days_left(self.now)
        if key.created > self.now + DAY_S:
            # gpg and apt take no notice of signatures of the future, the one that sets the expiry among them.
            problem = f"the key {key.fingerprint} was made on {date(key.created)}, after this host's today"
            raise WishError(self._where, problem, "set the host's clock")
        if key.expired(self.now):
            problem = f"the key {key.fingerprint} expired on {date(key.expires)}"
            if not self.module.params["allow_expired"]:
                raise WishError(self._where, problem, f"{LATER}allow_expired to install it all the same")
            self.module.warn(f"{self.path}: {problem}, so that apt refuses what it signs")
        elif days is not None and days <= self.module.params["warn_days"]:
            self.module.warn(f"{self.path}: the key {key.fingerprint} expires on {date(key.expires)}, in {days} days")

    def write(self, binary: bytes) -> None:
        """Put the key in place by rename."""
        if self.module.params["tree"]:
            Tree(self.module.params["state_path"], self.module.params["tree"], "/").remember(self.path.lstrip("/"))
        folders.make(os.path.dirname(self.path))
        staged = os.path.join(self.module.tmpdir, "signing-key")
        with open(staged, "wb") as file:
            file.write(armoured(binary) if self._armoured else binary)
        os.chmod(staged, 0o644)
        self.module.atomic_move(staged, self.path)

    @property
    def _armoured(self) -> bool:
        return self.path.endswith(".asc")

    @property
    def _remote(self) -> bool:
        return (self.module.params["source"] or "").lower().startswith(("http://", "https://"))

    @property
    def _where(self) -> str:
        source = self.module.params["source"]
        if source is None:
            return "content"
        return web_address.public(source) if self._remote else source

    def _ageing(self, key: Key) -> bool:
        days = key.days_left(self.now)
        return days is not None and days <= self.module.params["warn_days"]

    def _offered(self) -> tuple[Key, bytes]:
        data = self._read()
        if len(data) > MOST_BYTES:
            raise WishError(self._where, f"is larger than {MOST_BYTES} bytes", "check that it leads to the key itself")
        binary, key = verified(data, self.fingerprint, self._where, self._gpg)
        return key, binary

    def _read(self) -> bytes:
        source, content = self.module.params["source"], self.module.params["content"]
        if source is None:
            return content.encode()
        self.fetched = True
        try:
            return self._download(source) if self._remote else self._file(source)
        except RefusalError as refusal:
            raise OSError(refusal.problem.removeprefix(f"{self._where} ")) from refusal

    def _file(self, source: str) -> bytes:
        with opened(source) as file:
            return file.read(MOST_BYTES + 1)

    def _download(self, source: str) -> bytes:
        data = b""
        with fetching.answered(source, timeout=self.module.params["timeout"]) as answer:
            for chunk in answer:
                data += chunk
                if len(data) > MOST_BYTES:
                    break
        return data

    def _gpg(self, arguments: list[str], data: bytes) -> tuple[int, str, str]:
        return self.module.run_command(arguments, data=data, binary_data=True)


def _outlives(one: Key, other: Key) -> bool:
    """Whether ``one`` is valid for longer than ``other``."""
    if other.expires is None:
        return False
    return one.expires is None or one.expires > other.expires


def difference(path: str, before: Key | None, after: Key) -> dict[str, str]:
    """Return the diff of two keys in words."""
    return {
        "before": before.description if before else "",
        "after": after.description,
        "before_header": path,
        "after_header": path,
    }


def keep(keyring: Keyring) -> dict[str, object]:
    """Bring the keyring file in line and return the module's result. Raises WishError."""
    module = keyring.module
    present = keyring.present()
    wanted = keyring.wanted(present)
    keyring.insist_on_life(wanted.key)
    changed = present is None or not present.in_form or present.binary != wanted.binary
    diff = difference(keyring.path, present.key if present else None, wanted.key)
    if changed and not module.check_mode:
        keyring.write(wanted.binary)
    attributes = module.load_file_common_arguments(module.params, path=keyring.path)
    attribute_diff: dict[str, object] = {"before_header": keyring.path, "after_header": keyring.path}
    return {
        "changed": module.set_fs_attributes_if_different(attributes, changed, attribute_diff),
        "diff": [diff, attribute_diff] if "before" in attribute_diff else [diff],
        "path": keyring.path,
        "fingerprint": wanted.key.fingerprint,
        "user_ids": list(wanted.key.user_ids),
        "expires": date(wanted.key.expires),
        "expires_in_days": wanted.key.days_left(keyring.now),
        "fetched": keyring.fetched,
    }


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
