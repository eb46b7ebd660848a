# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One TLS handshake with the gRPC port, before any load is sent: grpc itself only says that it cannot connect."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from .target import context, reason, server_name

# A server that is well answers a connection within a round trip.
TIMEOUT_S = 5.0
CLOSED = "it closes the connection"


def failure(target: dict[str, Any]) -> dict[str, str] | None:
    """Return why a handshake fails, None where it does not: ``{"what": ..., "why": "unknown ca"}``.

    ``what`` is ``server`` (it is not proved), ``no certificate`` (it asks its callers for one), ``caller`` (it refuses
    this one) or ``key`` (certificate and key cannot be used).
    """
    try:
        made = _context(target["tls"])
    except (OSError, ValueError) as error:
        return {"what": "key", "why": reason(error)}
    try:
        with socket.create_connection((target["host"], target["grpc"]), TIMEOUT_S) as plain:
            said = _shaken(made, plain, server_name(target))
    except ssl.SSLCertVerificationError as error:
        return {"what": "server", "why": error.verify_message}
    except ssl.SSLError as error:
        said = _alert(error)
        if not said:
            return {"what": "server", "why": reason(error)}
    except OSError as error:
        return {"what": "server", "why": reason(error)}
    return {"what": "caller" if target["tls"].get("certificate") else "no certificate", "why": said} if said else None


def _context(tls: dict[str, Any]) -> ssl.SSLContext:
    made = context(tls) or ssl.create_default_context()
    made.set_alpn_protocols(["h2"])
    if not tls.get("ca"):
        # grpc has authorities of its own, so the system's say nothing of what it trusts.
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _shaken(made: ssl.SSLContext, plain: socket.socket, name: str) -> str:
    """Shake hands and return why the server ends the connection afterwards, or an empty text."""
    with made.wrap_socket(plain, server_hostname=name) as secure:
        try:
            # In TLS 1.3 the handshake ends before the server has looked at the caller's certificate. Then it sends the
            # settings of HTTP/2; or an alert, or, as gRPC does, just closes.
            return "" if secure.recv(1) else CLOSED
        except (TimeoutError, socket.timeout):
            # Silence is no refusal.
            return ""
        except ConnectionError:
            return CLOSED


def _alert(error: ssl.SSLError) -> str:
    """Return what the server sent in place of an answer; an empty text for an error of our own library."""
    words = (error.reason or "").replace("_", " ").lower()
    return words.rpartition("alert ")[2] if "alert" in words else ""
