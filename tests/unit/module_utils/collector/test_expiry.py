# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When certificates and keys expire, read by openssl and gpg once for each content of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timezone

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import apt_keys, certificates, programs
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import PartError
from collected_host import CollectedHost
from tls_pairs import pair

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="this machine has no openssl")
needs_gpg = pytest.mark.skipif(not shutil.which("gpg"), reason="this machine has no gpg")
END = datetime(2031, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
LATER = datetime(2041, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
AT = int(END.timestamp())


@pytest.fixture
def place(tmp_path):
    place = CollectedHost(tmp_path)
    place.answers["openssl"] = lambda arguments, data: programs.run(arguments, data)
    place.answers["gpg"] = lambda arguments, data: programs.run(arguments, data)
    return place


def told(path):
    return f'tfserving_certificate_expiry_timestamp_seconds{{path="{path}"}} {AT}'


def ssl_config(certificate, key):
    return f"server_key: {json.dumps(key)}\nserver_cert: {json.dumps(certificate)}\nclient_verify: false\n"


@needs_openssl
def test_the_first_end_of_each_file_is_told(place):
    certificate, key = pair(end=END)
    place.write("etc/tfserving/ranker/ssl.config", ssl_config(certificate, key))
    place.write("etc/haproxy/tfserving/tls.pem", pair(end=LATER)[0] + certificate + key)
    place.write("etc/prometheus/tfserving-exporter/tls.crt", certificate)
    place.write("etc/haproxy/tfserving/jwt.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert place.read(certificates) == [
        told("/etc/haproxy/tfserving/tls.pem"),
        told("/etc/prometheus/tfserving-exporter/tls.crt"),
        told("/etc/tfserving/ranker/ssl.config"),
    ]


@needs_openssl
def test_no_key_leaves_the_collector(place):
    certificate, key = pair(end=END)
    place.write("etc/haproxy/tfserving/tls.pem", key + certificate)
    place.read(certificates)
    secret = "".join(key.splitlines()[1:-1]).encode()
    assert [data for _arguments, data in place.asked] == [certificate.strip().encode()]
    kept = place.state_path.read_bytes()
    assert not any(secret[start:][:20] in kept for start in range(0, len(secret), 20))


@needs_openssl
def test_a_file_is_read_again_only_when_it_is_another_one(place):
    file = place.write("etc/haproxy/tfserving/tls.pem", pair(end=LATER)[0])
    first = place.read(certificates)
    assert place.read(certificates) == first
    assert len(place.asked) == 1
    file.unlink()
    place.write("etc/haproxy/tfserving/tls.pem", pair(end=END)[0])
    assert place.read(certificates) == [told("/etc/haproxy/tfserving/tls.pem")]


@needs_openssl
def test_a_damaged_certificate_hides_no_other(place):
    place.write("etc/haproxy/tfserving/a.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    place.write("etc/haproxy/tfserving/b.pem", pair(end=END)[0])
    samples = certificates.read(place.host())
    assert next(samples)[1:] == (AT, ("/etc/haproxy/tfserving/b.pem",))
    with pytest.raises(PartError, match=r"a\.pem: it holds a certificate that openssl cannot read"):
        next(samples)


def test_a_host_without_openssl_says_so(place):
    del place.answers["openssl"]
    place.write("etc/haproxy/tfserving/a.pem", pair(end=END)[0])
    with pytest.raises(PartError, match="openssl could not be started"):
        place.read(certificates)


def test_a_host_without_certificates_and_keys_leaves_both_out(place):
    assert not certificates.applies(place.host())
    assert not apt_keys.applies(place.host())


@needs_gpg
def test_the_key_of_a_repository_is_told_with_its_fingerprint(place, tmp_path):
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    expiry = END.strftime("%Y%m%dT%H%M%S")
    subprocess.run([*gpg, "--quick-generate-key", "x", "ed25519", "sign", expiry], check=True, capture_output=True)
    exported = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
    listed = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    place.write("etc/apt/keyrings/tfserving.gpg", exported)
    labels = f'path="/etc/apt/keyrings/tfserving.gpg",fingerprint="{fingerprint}"'
    assert place.read(apt_keys) == [f"tfserving_apt_key_expiry_timestamp_seconds{{{labels}}} {AT}"]


@needs_gpg
def test_a_file_that_is_no_key_is_said_in_one_sentence(place):
    place.write("etc/apt/keyrings/nvidia-driver.gpg", "no key")
    with pytest.raises(PartError, match=r"nvidia-driver\.gpg: holds no OpenPGP key"):
        place.read(apt_keys)
