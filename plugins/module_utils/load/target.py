# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where requests go: the address, the certificates, and what is said when nobody answers there."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from typing import Any, Optional

# A connection that takes longer, in s, is none: TCP has then asked four times.
CONNECT_S = 10.0

Tls = Optional[dict[str, Any]]


class UnreachableError(Exception):
    """Nobody answers at the target. The text is a sentence for the user."""

    def __init__(self, target: dict[str, Any], protocol: str, cause: BaseException | str) -> None:
        why = cause if isinstance(cause, str) else reason(cause)
        super().__init__(f"{target['host']} port {target[protocol]} ({protocol}) cannot be reached: {why}")


def reason(error: BaseException) -> str:
    """Return in words why something failed."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return f"no answer within {CONNECT_S:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was refused, {error.verify_message}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


async def address(target: dict[str, Any], protocol: str) -> tuple[str, int]:
    """Return the IP address and port of a target, so that no request pays for resolving its name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target["host"], target[protocol], type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreachableError(target, protocol, "its name cannot be resolved") from error
    return found[0][4][0], found[0][4][1]


def server_name(target: dict[str, Any]) -> str:
    """Return the name that the server's certificate must hold."""
    return str((target["tls"] or {}).get("name") or target["host"])


def context(tls: Tls) -> ssl.SSLContext | None:
    """Return what TLS needs, from PEM texts and the file of the key; None without TLS. Raise ValueError or OSError."""
    if tls is None:
        return None
    made = ssl.create_default_context(cadata=tls.get("ca") or None)
    if tls.get("certificate"):
        # The library takes certificates from files only.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(tls["certificate"])
            file.flush()
            made.load_cert_chain(file.name, tls.get("key_file"))
    return made
