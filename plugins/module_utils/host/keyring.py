# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A keyring file with one pinned key: its check, what its source offers, and the change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..disk import folders
from ..disk.digests import opened
from ..errors import RefusalError, WishError
from ..tree.tree import Tree
from ..web import address as web_address
from ..web import fetching
from .signing_keys import (
    DAY_S,
    MOST_BYTES,
    Key,
    armoured,
    date,
    normalised,
    verified,
)

LATER = "its publisher has to publish it again: run again later, use a mirror that signs with a key of its own, or set "


@dataclass(frozen=True)
class KeyFile:
    """A verified key and its binary form; ``in_form`` tells whether the file on disk has the form its name promises."""

    key: Key
    binary: bytes
    in_form: bool = True


class Keyring:
    """One run on a keyring file.

    :param module: the AnsibleModule, used for its parameters, warnings and running gpg.
    """

    def __init__(self, module: Any, now: float) -> None:
        self.module = module
        self.now = now
        self.path: str = module.params["path"]
        self.fingerprint = normalised(module.params["fingerprint"])
        self.fetched = False

    def present(self) -> KeyFile | None:
        """Return the pinned key as on disk, or None if the file is missing or holds anything else."""
        try:
            with open(self.path, "rb") as file:
                data = file.read(MOST_BYTES)
            binary, key = verified(data, self.fingerprint, self.path, self._gpg)
        except (FileNotFoundError, WishError):
            return None
        return KeyFile(key, binary, (binary == data) != self._armoured)

    def wanted(self, present: KeyFile | None) -> KeyFile:
        """Return the key to keep on disk. Raises WishError."""
        if present and self.module.params["source"] and self._remote and not self._ageing(present.key):
            return present
        try:
            offered = KeyFile(*self._offered())
        except OSError as error:
            return self._kept(present, error)
        return present if present and _outlives(present.key, offered.key) else offered

    def _kept(self, present: KeyFile | None, error: OSError) -> KeyFile:
        """Return the key on disk, if usable, when its source cannot be read."""
        problem = f"cannot be read ({error})"
        if present is None:
            raise WishError(self._where, problem, "check that it can be reached")
        if present.key.expired(self.now) and not self.module.params["allow_expired"]:
            problem += f", and the key in {self.path} expired on {date(present.key.expires)}"
            raise WishError(self._where, problem, f"{LATER}allow_expired to keep it all the same")
        self.module.warn(f"{self._where}: {problem}, so {self.path} stays as it is")
        return present

    def insist_on_life(self, key: Key) -> None:
        """Raise WishError for a key that has expired or is not valid yet, warn about one that soon will expire."""
        days = key.days_left(self.now)
        if key.created > self.now + DAY_S:
            # gpg and apt ignore signatures from the future, including the one that sets the expiry.
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
        """Rename the key file into place."""
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
        source: str = self.module.params["source"] or ""
        return source.lower().startswith(("http://", "https://"))

    @property
    def _where(self) -> str:
        source: str | None = self.module.params["source"]
        if source is None:
            return "content"
        return web_address.public(source) if self._remote else source

    def _ageing(self, key: Key) -> bool:
        days = key.days_left(self.now)
        return days is not None and days <= int(self.module.params["warn_days"])

    def _offered(self) -> tuple[Key, bytes]:
        data = self._read()
        if len(data) > MOST_BYTES:
            raise WishError(self._where, f"is larger than {MOST_BYTES} bytes", "check that it leads to the key itself")
        binary, key = verified(data, self.fingerprint, self._where, self._gpg)
        return key, binary

    def _read(self) -> bytes:
        source, content = self.module.params["source"], self.module.params["content"]
        if source is None:
            return str(content).encode()
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
        ended: tuple[int, str, str] = self.module.run_command(arguments, data=data, binary_data=True)
        return ended


def _outlives(one: Key, other: Key) -> bool:
    """Return whether ``one`` is valid for longer than ``other``."""
    if other.expires is None:
        return False
    return one.expires is None or one.expires > other.expires


def difference(path: str, before: Key | None, after: Key) -> dict[str, str]:
    """Return the diff of two keys, described in words."""
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
