# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What callers and a server with TLS show each other.

Certificates travel in the description of a stage. A key does not: the description has the path of its file, and the
load host gets the file for as long as it is used (``runner``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..wishes.tls import check_pair
from .options import Options

# The authorities of a whole distribution take some 250 KB.
MOST_BYTES = 1 << 20
CERTIFICATE_LINE = "-----BEGIN CERTIFICATE-----"
# Of a load host's words.
LONGEST_WORDS = 200


def described(asked: Options, now: datetime | None = None) -> dict[str, Any]:
    """Return how the load generator proves a server with TLS, and itself. Raise WishError for files that are no good.

    ``key_file`` is a path on the load host, ``key_source`` one on the controller; at most one of them is set.
    """
    found = {
        "ca": _certificates("tls_ca", asked.tls_ca, "give the PEM file of the authority") if asked.tls_ca else None,
        "name": asked.tls_name,
        "certificate": None,
        "key_file": None,
        "key_source": None,
    }
    if not asked.tls_certificate or not asked.tls_key:
        return found
    certificate = _certificates("tls_certificate", asked.tls_certificate, "give the PEM file of the certificate")
    if asked.tls_key_remote:
        return {**found, "certificate": certificate, "key_file": asked.tls_key}
    names, remedy = ("tls_certificate", "tls_key"), "give one that is valid"
    check_pair(certificate, key(asked.tls_key), now or datetime.now(timezone.utc), names, remedy)
    return {**found, "certificate": certificate, "key_source": asked.tls_key}


def key(path: str) -> str:
    """Return the text of a key's file on the controller. Raise WishError, without the text."""
    return _text("tls_key", path, "give the PEM file of the key, or set tls_key_remote if it is on the load hosts")


def _certificates(name: str, path: str, remedy: str) -> str:
    text = _text(name, path, remedy)
    if CERTIFICATE_LINE not in text:
        raise WishError(name, f"{path} holds no certificate", remedy)
    return text


def _text(name: str, path: str, remedy: str) -> str:
    try:
        with Path(path).expanduser().open(encoding="ascii") as stream:
            text = stream.read(MOST_BYTES + 1)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        # Not from the error: that of the decoder holds the whole content.
        raise WishError(name, f"{path} cannot be read ({why})", remedy) from None
    if len(text) > MOST_BYTES:
        raise WishError(name, f"{path} is larger than any PEM file", remedy)
    return text


def refusal(failed: Mapping[str, Any], target_host: str, load_host: str) -> WishError:
    """Return what to say of a handshake that failed.

    :param failed: what the load host saw, see ``load/handshake.py``.
    """
    why, port = told(str(failed.get("why")), LONGEST_WORDS), f"{target_host} on its grpc port"
    if failed.get("what") == "no certificate":
        remedy = "give it together with tls_key, or measure with protocol=rest"
        return WishError("tls_certificate", f"is missing, and {port} asks its callers for one", remedy)
    if failed.get("what") == "caller":
        remedy = "give one that an authority of the server's tfserving_tls_client_ca has signed"
        return WishError("tls_certificate", f"is refused by {port} ({why})", remedy)
    if failed.get("what") == "key":
        problem = f"cannot be used on load host {load_host} ({why})"
        return WishError("tls_key", problem, "give the key that belongs to tls_certificate, as that user can read it")
    problem = f"does not prove {port} to load host {load_host} ({why})"
    return WishError("tls_ca", problem, "give its authority, and with tls_name the name in its certificate")
