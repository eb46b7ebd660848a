# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a certificate and its key. On the controller only: ansible-core brings ``cryptography``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind

from ..caller import current

CERTIFICATE = "tfserving_tls_certificate"
KEY = "tfserving_tls_key"
CLIENT_CA = "tfserving_tls_client_ca"
# What ends sooner may end within a run: a roll-out of five steps takes an hour of deadlines, and what lies around them.
RUN = timedelta(hours=2)


def check(certificate: str, key: str, client_ca: str, now: datetime | None = None) -> None:
    """Raise WishError, without secrets in its text, if the server would start and then fail every handshake.

    All are PEM texts, empty for none.
    """
    for name, value in ((CERTIFICATE, certificate), (KEY, key), (CLIENT_CA, client_ca)):
        if not isinstance(value, str) or not value.isascii():
            raise WishError(name, f"is {kind(value)}, not PEM text", "begin it with its -----BEGIN line")
    if not certificate:
        for name, value in ((KEY, key), (CLIENT_CA, client_ca)):
            if value:
                raise WishError(name, f"is set and {CERTIFICATE} is not", "set both, or leave both out")
        return
    if not key:
        raise WishError(KEY, f"is empty and {CERTIFICATE} is set", "set both, or leave both out")
    remedy = f"renew it, as {current().playbook('certificates')} does"
    check_pair(certificate, key, now or datetime.now(timezone.utc), (CERTIFICATE, KEY), remedy)
    if client_ca:
        check_authorities(client_ca, now or datetime.now(timezone.utc), CLIENT_CA, remedy)


def check_pair(certificate: str, key: str, now: datetime, names: tuple[str, str], remedy: str) -> None:
    """Raise WishError, without secrets in its text, if a certificate and a key do not belong together or hold today.

    :param names: the variables that they are from.
    :param remedy: what to do about a certificate that has expired.
    """
    # Imported here: only fleets with TLS need it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    first = _read(names[0], _x509().load_pem_x509_certificates, certificate, "a certificate")[0]
    try:
        public = first.public_key()
    except (ValueError, UnsupportedAlgorithm):
        remedy = "use a key of RSA, Ed25519 or a curve such as P-256"
        raise WishError(names[0], "has a key of a kind that cannot be checked", remedy) from None
    private = _read(names[1], lambda text: load_pem_private_key(text, None), key, "a private key without a passphrase")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*form) != private.public_key().public_bytes(*form):
        raise WishError(names[1], f"is not the key of {names[0]}", "give the two that belong together")
    _refuse_end(names[0], first.not_valid_after_utc, now, remedy)
    if first.not_valid_before_utc > now:
        begins = f"{first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise WishError(names[0], f"is valid only from {begins}", "wait, or check the clocks")


def check_authorities(text: str, now: datetime, name: str, remedy: str) -> None:
    """Raise WishError if a PEM text has no certificate that holds: an authority that is renewed has two for a while."""
    found = _read(name, _x509().load_pem_x509_certificates, text, "certificates")
    _refuse_end(name, max(each.not_valid_after_utc for each in found), now, remedy)


def _refuse_end(name: str, end: datetime, now: datetime, remedy: str) -> None:
    if end <= now:
        raise WishError(name, f"expired on {end:%Y-%m-%d}", remedy)
    if end <= now + RUN:
        raise WishError(name, f"expires on {end:%Y-%m-%d at %H:%M} UTC, which may be within this run", remedy)


def _x509() -> Any:
    from cryptography import x509

    return x509


def _read(name: str, load: Callable[[bytes], Any], text: str, what: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own message may quote the text.
        raise WishError(name, f"is not the PEM text of {what}", "begin it with its -----BEGIN line") from None
