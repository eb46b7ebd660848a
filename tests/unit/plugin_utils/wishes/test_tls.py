# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a certificate and a key before a host is given them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import tls
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
)
from refusing import refusal
from tls_pairs import DAY, HOUR, NOW, pair, pem


def tls_refusal(certificate: str, key: str, client_ca: str = "") -> str:
    return refusal(tls.check, certificate, key, client_ca)


def test_a_pair_that_belongs_together_is_taken_with_and_without_clients_to_know():
    certificate, key = pair()
    assert tls_refusal(certificate, key) == ""
    assert tls_refusal(certificate, key, certificate) == ""


def test_no_certificate_is_no_refusal():
    assert tls_refusal("", "") == ""


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (
            ("CERT", ""),
            "tfserving_tls_key: is empty and tfserving_tls_certificate is set; set both, or leave both out",
        ),
        (("", "KEY"), "tfserving_tls_key: is set and tfserving_tls_certificate is not; set both, or leave both out"),
        (
            ("", "", "CA"),
            "tfserving_tls_client_ca: is set and tfserving_tls_certificate is not; set both, or leave both out",
        ),
    ],
)
def test_one_without_the_other_is_refused(texts, sentence):
    assert tls_refusal(*texts) == sentence


def test_the_key_of_another_certificate_is_refused():
    assert tls_refusal(pair()[0], pair()[1]) == (
        "tfserving_tls_key: is not the key of tfserving_tls_certificate; give the two that belong together"
    )


def test_a_certificate_that_has_ended_is_refused():
    certificate, key = pair(NOW - 3 * DAY, NOW - DAY)
    assert tls_refusal(certificate, key) == (
        f"tfserving_tls_certificate: expired on {NOW - DAY:%Y-%m-%d}; renew it, as tfserving.fleet.certificates does"
    )


# Of the curve SM2, which the library reads and cannot use.
UNUSUAL = """\
-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUO+rzQwo9EyuJDOBBpKsx9ODeHFMwCgYIKoEcz1UBg3Uw
DDEKMAgGA1UEAwwBYTAgFw0yNjExMjgwMDU3NDJaGA8yMTI2MTEwNDAwNTc0Mlow
DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqBHM9VAYItA0IABB1WssNQJ25R
rUAh3W24dDYnXeAe71gdt5u+VibL0wXzNgbcR3abBuJvr1Rtrto566ATR+jI1qhg
k5to+h8TTF2jUzBRMB0GA1UdDgQWBBRxEQkZuNNnE3BPIV+wwtbxEweTujAfBgNV
HSMEGDAWgBRxEQkZuNNnE3BPIV+wwtbxEweTujAPBgNVHRMBAf8EBTADAQH/MAoG
CCqBHM9VAYN1A0gAMEUCIQCbttfEaP/CpannMETLgA4SNj6WkkLf3Z/VTG+y4NVN
wAIgIOeXjyoEcLVCWOI9RadvEaLrNNflSc7e1DX5Kq4q9YU=
-----END CERTIFICATE-----
"""


def test_a_certificate_of_an_unusual_kind_is_refused():
    assert tls_refusal(UNUSUAL, pair()[1]) == (
        "tfserving_tls_certificate: has a key of a kind that cannot be checked;"
        " use a key of RSA, Ed25519 or a curve such as P-256"
    )


def test_a_certificate_that_may_end_within_the_run_is_refused():
    end = NOW + HOUR
    certificate, key = pair(NOW - DAY, end)
    assert tls_refusal(certificate, key) == (
        f"tfserving_tls_certificate: expires on {end:%Y-%m-%d at %H:%M} UTC, which may be within this run;"
        " renew it, as tfserving.fleet.certificates does"
    )


def test_authorities_are_refused_once_all_of_them_have_ended():
    old, new = pair(NOW - 3 * DAY, NOW - DAY)[0], pair()[0]
    assert tls_refusal(*(good := pair()), old + new) == ""
    assert tls_refusal(*good, old) == (
        f"tfserving_tls_client_ca: expired on {NOW - DAY:%Y-%m-%d}; renew it, as tfserving.fleet.certificates does"
    )


def test_a_certificate_of_tomorrow_is_refused():
    certificate, key = pair(NOW + DAY, NOW + 2 * DAY)
    assert "is valid only from" in tls_refusal(certificate, key)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_pem_text_is_refused_without_being_shown(place):
    texts = [*pair(), pair()[0]]
    texts[place] = "hunter2"
    name, what = [
        ("tfserving_tls_certificate", "a certificate"),
        ("tfserving_tls_key", "a private key without a passphrase"),
        ("tfserving_tls_client_ca", "certificates"),
    ][place]
    assert tls_refusal(*texts) == f"{name}: is not the PEM text of {what}; begin it with its -----BEGIN line"


def test_a_key_with_a_passphrase_is_refused():
    key = pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"x"))
    assert "is not the PEM text of a private key without a passphrase" in tls_refusal(pair()[0], key)
