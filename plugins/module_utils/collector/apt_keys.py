# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the keys expire with which apt trusts the repositories of the server and of the driver; gpg reads them."""

from __future__ import annotations

from typing import Any

from .files import by_content
from .host import Host
from .sample import Samples, sample

PATHS = ("etc/apt/keyrings/tfserving.gpg", "etc/apt/keyrings/nvidia-driver.gpg")
_SHAPE = {str: int}


def applies(host: Host) -> bool:
    """Return whether the host has any."""
    return any(host.tree.exists(path) for path in PATHS)


def read(host: Host) -> Samples:
    """Yield the samples; a key that never expires has none."""
    present = [host.tree.path(path) for path in PATHS if host.tree.exists(path)]
    answers = by_content(host, "apt_keys", present, lambda content: _ends(host, content), _SHAPE)
    for path, keys in answers.of.items():
        told = f"/{path[len(host.tree.path('')) :]}"
        for fingerprint, end in keys.items():
            yield sample("apt_key_expiry_timestamp_seconds", end, path=told, fingerprint=fingerprint)
    answers.insist()


def _ends(host: Host, content: bytes) -> dict[str, Any]:
    # Only for a key that has changed.
    from ..host import signing_keys

    def run(arguments: list[str], data: bytes) -> tuple[int, str, str]:
        status, out = host.run(arguments, data)
        return status, out, ""

    keys = signing_keys.keys_in(signing_keys.dearmoured(content), run)
    return {key.fingerprint: key.expires for key in keys if key.expires is not None}
