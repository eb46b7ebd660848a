# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""certificates.yml as users run it, for hosts that nobody can reach; what it made is read by others than it."""

from __future__ import annotations

import datetime
import re
import shutil
import ssl
import stat
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from running import run_playbook

HOSTS = {"h1": {"ansible_host": "10.0.0.1"}, "h_2": {"certificates_names": ["gpu.example", "fe80::2"]}}
LEAVES = ("client", "h1", "h_2")
NAMES = ("ca", *LEAVES)

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates")


class Fleet:
    """An inventory in a directory of its own, and the certificates that were made beside it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.certificates = place / "certificates"
        self.output = ""

    def play(self, *options: str, hosts: dict = HOSTS, inventory: str = "hosts.yml", **environment: str) -> int:
        """Run the playbook; return its exit status."""
        # As inventories have it that are there for the hosts: none of it may reach this machine, which lacks sudo.
        everywhere = {"ansible_become": True, "ansible_connection": "ssh", "ansible_become_exe": "/nonexistent"}
        groups = {"all": {"vars": everywhere}, "tfserving": {"hosts": hosts}}
        (self.place / "hosts.yml").write_text(yaml.safe_dump(groups))
        command = ("-i", inventory, "tfserving.fleet.certificates", *options)
        done = run_playbook(self.place, *command, **{"ANSIBLE_PIPELINING": "1", **environment})
        self.output = done.stdout + done.stderr
        assert "PRIVATE KEY" not in self.output
        assert "Traceback" not in self.output
        return done.returncode

    def make(self, *options: str, **more) -> bool:
        """Run it successfully; return whether it reports a change."""
        assert self.play(*options, **more) == 0, self.output
        return sum(map(int, re.findall(r"changed=(\d+)", self.output))) > 0

    def read(self) -> dict[str, bytes]:
        """Return the content of every file."""
        return {path.name: path.read_bytes() for path in self.certificates.iterdir()}

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.certificates / f"{name}.crt").read_bytes())

    def days(self, name: str) -> int:
        left = self.certificate(name).not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
        return round(left.total_seconds() / 86400)

    def context(self, side: ssl._SSLMethod, name: str | None) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(self.certificates / "ca.crt"))
        if name:
            context.load_cert_chain(str(self.certificates / f"{name}.crt"), str(self.certificates / f"{name}.key"))
        return context

    def check(self) -> None:
        """Assert that all files are there, alone, closed to others, of one another and of the authority."""
        assert set(self.read()) == {f"{name}.{suffix}" for name in NAMES for suffix in ("key", "crt")}
        assert stat.S_IMODE(self.certificates.stat().st_mode) == 0o700
        authority = self.certificate("ca")
        for name in NAMES:
            path = self.certificates / f"{name}.key"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            assert key.curve.name == "secp256r1"
            assert key.public_key() == self.certificate(name).public_key()
            self.certificate(name).verify_directly_issued_by(authority)


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Shake hands in memory; raises ssl.SSLError when either side refuses."""
    first, second = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(first, second, server_hostname=name),
        server.wrap_bio(second, first, server_side=True),
    ]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    assert sides == []


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Fleet:
    """Return a fleet whose certificates were made once, with all that the playbook has to say."""
    fleet = Fleet(tmp_path_factory.mktemp("made"))
    assert fleet.make("-vvv")
    return fleet


@pytest.fixture
def fleet(made, tmp_path) -> Fleet:
    shutil.copytree(made.certificates, tmp_path / "certificates")
    return Fleet(tmp_path)


def test_every_host_and_the_client_hold_a_certificate_of_the_authority(made):
    made.check()
    expected = {
        "client": {"client"},
        "h1": {"h1", ip_address("10.0.0.1")},
        "h_2": {"h_2", "gpu.example", ip_address("fe80::2")},
    }
    for name in LEAVES:
        extensions = made.certificate(name).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        held = {*names.get_values_for_type(x509.DNSName), *names.get_values_for_type(x509.IPAddress)}
        assert held == expected[name]
        use = ExtendedKeyUsageOID.CLIENT_AUTH if name == "client" else ExtendedKeyUsageOID.SERVER_AUTH
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert made.days(name) == 397
        verify = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", f"{name}.crt"]
        subprocess.run(verify, cwd=made.certificates, check=True, capture_output=True)
    assert made.days("ca") == 3650


@pytest.mark.parametrize(
    ("host", "name"), [("h1", "h1"), ("h1", "10.0.0.1"), ("h_2", "gpu.example"), ("h_2", "fe80::2")]
)
def test_a_host_and_the_client_shake_hands_and_each_has_to_show_its_certificate(made, host, name):
    server = made.context(ssl.PROTOCOL_TLS_SERVER, host)
    client = made.context(ssl.PROTOCOL_TLS_CLIENT, "client")
    handshake(server, client, name)
    with pytest.raises(ssl.SSLError, match="match"):
        handshake(server, client, "other.example")
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        handshake(server, made.context(ssl.PROTOCOL_TLS_CLIENT, None), name)
    # One host of the fleet is not let into another as a client, nor the client taken for a host.
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported certificate purpose|unsuitable certificate purpose"):
        handshake(server, made.context(ssl.PROTOCOL_TLS_CLIENT, host), name)
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported certificate purpose|unsuitable certificate purpose"):
        handshake(made.context(ssl.PROTOCOL_TLS_SERVER, "client"), client, "client")


def test_check_mode_tells_and_writes_nothing_and_a_second_run_changes_nothing(fleet):
    before = fleet.read()
    assert not fleet.make()
    assert fleet.make("--check", "-e", "certificates_renew_days=400")
    assert changed(before, fleet.read()) == set()
    shutil.rmtree(fleet.certificates)
    assert fleet.make("--check")
    assert [path.name for path in fleet.place.iterdir() if not path.name.startswith(".")] == ["hosts.yml"]


def test_a_certificate_that_soon_ends_is_made_anew_with_its_key(fleet):
    before = fleet.read()
    assert fleet.make("-e", "certificates_days=10 certificates_renew_days=400")
    assert [fleet.days(name) for name in LEAVES] == [10] * 3
    fleet.check()
    assert fleet.make()
    assert [fleet.days(name) for name in LEAVES] == [397] * 3
    fleet.check()
    assert changed(before, fleet.read()) == {f"{name}.crt" for name in LEAVES}


def test_a_new_authority_makes_every_certificate_anew_and_is_renewed_when_they_would_outlast_it(fleet):
    before = fleet.read()
    (fleet.certificates / "ca.key").unlink()
    (fleet.certificates / "ca.crt").unlink()
    assert fleet.make("-e", "certificates_days=100 certificates_ca_days=200")
    fleet.check()
    assert changed(before, fleet.read()) == {"ca.key", *(f"{name}.crt" for name in NAMES)}
    before = fleet.read()
    assert fleet.make()
    assert fleet.days("ca") == 3650
    fleet.check()
    assert changed(before, fleet.read()) == {"ca.crt"}


def test_new_keys_are_made_when_asked_for_and_those_of_the_authority_stay(fleet):
    before = fleet.read()
    assert fleet.make("-e", "certificates_new_keys=true")
    fleet.check()
    assert changed(before, fleet.read()) == {f"{name}.{suffix}" for name in LEAVES for suffix in ("key", "crt")}


def test_other_names_and_what_an_interrupted_run_or_others_left_are_put_right_with_the_keys_that_are_there(fleet):
    before = fleet.read()
    more = {**HOSTS, "h1": {**HOSTS["h1"], "certificates_names": "more.example"}}
    # The order of the names is of no concern, nor is how they are written.
    more["h_2"] = {"certificates_names": ["fe80:0::2", "gpu.example", "gpu.example"]}
    # Interrupted between the two renames: the key is new, the certificate is not; and files of a run before that.
    shutil.copy(fleet.certificates / "h1.key", fleet.certificates / "client.key")
    (fleet.certificates / "client.key.new").write_text("half a k")
    (fleet.certificates / "client.crt.new").write_text("half a c")
    (fleet.certificates / "h_2.key").chmod(0o644)
    fleet.certificates.chmod(0o755)
    assert fleet.make(hosts=more)
    fleet.check()
    assert changed(before, fleet.read()) == {"h1.crt", "client.key", "client.crt"}
    handshake(
        fleet.context(ssl.PROTOCOL_TLS_SERVER, "h1"), fleet.context(ssl.PROTOCOL_TLS_CLIENT, "client"), "more.example"
    )


def test_an_authority_without_its_key_is_refused(fleet):
    (fleet.certificates / "ca.key").unlink()
    before = fleet.read()
    assert fleet.play() != 0
    assert (
        f"{fleet.certificates}/ca.crt: ca.key beside it is missing or not its key; put the right one there, or remove "
        "ca.crt and ca.key for a new authority, which makes all certificates anew"
    ) in fleet.output
    assert changed(before, fleet.read()) == set()


@pytest.mark.parametrize(
    ("hosts", "options", "sentence"),
    [
        (
            {"h1": {"certificates_names": ["ok.example", "a, DNS:b", "10.0.0.256", "1:2"]}},
            (),
            "certificates_names: 10.0.0.256, 1:2, a, DNS:b of h1 is neither a host name nor an address; correct it "
            "where the inventory has it (inventory_hostname, ansible_host or certificates_names)",
        ),
        ({"client": {}}, (), "client: client.key belongs to the whole fleet; give the host another name"),
        (
            HOSTS,
            ("-e", "certificates_dir=here"),
            'certificates_dir: \\"here\\" is not an absolute path; set one, or use an inventory that is a file',
        ),
        (
            HOSTS,
            ("-e", "certificates_ca_days=100"),
            "certificates_ca_days: 100 days do not cover a certificate of 397 days renewed in its last 30; "
            "set days above 0 of which certificates_ca_days are the most",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(tmp_path, hosts, options, sentence):
    fleet = Fleet(tmp_path)
    assert fleet.play(*options, hosts=hosts) != 0
    assert f'"msg": "{sentence}"' in fleet.output
    assert not fleet.certificates.exists()


def test_without_an_inventory_file_the_place_has_to_be_said(tmp_path):
    fleet = Fleet(tmp_path)
    assert fleet.play("-e", "fleet_hosts=all", inventory="h1,") != 0
    assert "is not an absolute path; set one, or use an inventory that is a file" in fleet.output
    assert fleet.make("-e", "fleet_hosts=all certificates_dir=~/kept", inventory="h1,")
    assert (tmp_path / "kept" / "h1.crt").exists()


@pytest.mark.parametrize(("script", "found"), [("echo LibreSSL 3.3.6", "LibreSSL 3.3.6"), (None, "none")])
def test_a_machine_without_openssl_is_refused_in_one_sentence(tmp_path, script, found):
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("sh", "rm", "mkdir", "chmod", "echo", "sleep"):
        (place / name).symlink_to(shutil.which(name))
    if script:
        (place / "openssl").write_text(f"#!/bin/sh\n{script}\n")
        (place / "openssl").chmod(0o755)
    fleet = Fleet(tmp_path)
    assert fleet.play(PATH=str(place)) != 0
    assert (
        f"openssl: 3.0 or later is needed on this machine and {found} was found; install it, or put it first in PATH"
    ) in fleet.output
