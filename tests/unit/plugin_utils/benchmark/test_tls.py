# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of callers: read on the controller, refused in one sentence, and never in what is told."""

from __future__ import annotations

import pytest
import simulated_team
import tls_pairs
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import tls

CERTIFICATE, KEY = tls_pairs.pair()


@pytest.fixture
def files(tmp_path):
    """Write files and return their paths by name."""

    def write(**contents):
        for name, content in contents.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        return {name: str(tmp_path / name) for name in contents}

    return write


def described(**given):
    return tls.described(simulated_team.asked(**given))


def refusal(**given):
    with pytest.raises(WishError) as refused:
        described(**given)
    return str(refused.value)


def test_a_server_is_proved_by_its_authority_and_its_name(files):
    ca = files(ca=CERTIFICATE)["ca"]
    nothing = {"certificate": None, "key_file": None, "key_source": None}
    assert described(tls_ca=ca, tls_name="ranker.example") == {"ca": CERTIFICATE, "name": "ranker.example", **nothing}
    assert described() == {"ca": None, "name": None, **nothing}


def test_a_caller_is_described_by_its_certificate_and_the_file_of_its_key(files):
    paths = files(tls_certificate=CERTIFICATE, tls_key=KEY)
    found = described(**paths)
    assert (found["certificate"], found["key_source"]) == (CERTIFICATE, paths["tls_key"])
    assert found["key_file"] is None
    assert "PRIVATE KEY" not in str(found)


def test_a_key_on_the_load_hosts_stays_there(files):
    found = described(**files(tls_certificate=CERTIFICATE), tls_key="/etc/caller.key", tls_key_remote=True)
    assert (found["key_file"], found["key_source"]) == ("/etc/caller.key", None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [("a key", "holds no certificate"), ("\u2603", "cannot be read (it is no text)"), ("x" * (1 << 20) + "x", "is")],
)
def test_a_file_without_a_certificate_is_refused(files, content, problem):
    paths = files(tls_ca=content)
    assert refusal(**paths).startswith(f"tls_ca: {paths['tls_ca']} {problem}")
    assert refusal(**paths).endswith("; give the PEM file of the authority")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refusal(tls_ca=f"{tmp_path}/ca.pem") == (
        f"tls_ca: {tmp_path}/ca.pem cannot be read (No such file or directory); give the PEM file of the authority"
    )
    paths = {"tls_certificate": f"{tmp_path}/cert.pem", "tls_key": f"{tmp_path}/key.pem"}
    assert refusal(**paths).startswith(f"tls_certificate: {tmp_path}/cert.pem cannot be read (No such file")
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    assert refusal(**paths) == (
        f"tls_key: {tmp_path}/key.pem cannot be read (No such file or directory); give the PEM file of the key, or set"
        " tls_key_remote if it is on the load hosts"
    )


def test_a_key_of_another_certificate_is_refused(files):
    _, other = tls_pairs.pair()
    paths = files(tls_certificate=CERTIFICATE, tls_key=other)
    assert refusal(**paths) == "tls_key: is not the key of tls_certificate; give the two that belong together"


@pytest.mark.parametrize("key", ["-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "secret"])
def test_what_is_no_key_is_refused_and_not_shown(files, key):
    found = refusal(**files(tls_certificate=CERTIFICATE, tls_key=key))
    assert found.startswith("tls_key: is not the PEM text of a private key without a passphrase")
    assert "secret" not in found


def test_a_certificate_that_has_expired_is_refused(files):
    old, key = tls_pairs.pair(tls_pairs.NOW - 9 * tls_pairs.DAY, tls_pairs.NOW - 2 * tls_pairs.DAY)
    found = refusal(**files(tls_certificate=old, tls_key=key))
    assert found.startswith("tls_certificate: expired on ")
    assert found.endswith("; give one that is valid")


@pytest.mark.parametrize(
    ("failed", "sentence"),
    [
        (
            {"what": "no certificate", "why": "certificate required"},
            "tls_certificate: is missing, and gpu-a on its grpc port asks its callers for one; give it together with"
            " tls_key, or measure with protocol=rest",
        ),
        (
            {"what": "caller", "why": "unknown ca"},
            "tls_certificate: is refused by gpu-a on its grpc port (unknown ca); give one that an authority of the"
            " server's tfserving_tls_client_ca has signed",
        ),
        (
            {"what": "key", "why": "permission denied"},
            "tls_key: cannot be used on load host load-1 (permission denied); give the key that belongs to"
            " tls_certificate, as that user can read it",
        ),
        (
            {"what": "server", "why": "self-signed certificate\x1b[2J"},
            "tls_ca: does not prove gpu-a on its grpc port to load host load-1 (self-signed certificate\\x1b[2J); give"
            " its authority, and with tls_name the name in its certificate",
        ),
    ],
)
def test_a_handshake_that_failed_names_the_variable(failed, sentence):
    assert str(tls.refusal(failed, "gpu-a", "load-1")) == sentence
