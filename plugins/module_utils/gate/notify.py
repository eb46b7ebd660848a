# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Words to systemd (sd_notify(3)), if it started this program and listens."""

from __future__ import annotations

import os
import socket


def tell(words: str) -> None:
    """Send one notification; a lost one is repeated by the next, or noticed by systemd."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # A leading @ stands for the zero byte of an abstract address.
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
        try:
            wire.sendto(words.encode(), address)
        except OSError:
            return
