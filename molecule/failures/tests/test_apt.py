# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A run that cannot install leaves apt as it found it: its files, what an update says, and what is installed."""

from __future__ import annotations

import pytest

BACK = "The sources, preferences and keyrings of apt are again as they were."
INSTALLED = "dpkg-query --show 'tensorflow-model-server*'"
FINGERPRINT = r"gpg --homedir /tmp/other-key --with-colons --list-keys | sed -n 's/^fpr:*\([0-9A-F]*\):/\1/p'"

FAULTS = {
    "a suite that is not there": ({"tfserving_apt_suite": "unstabel"}, "unstabel"),
    "a version that is not there": ({"tfserving_version": "2.99.0"}, "2.99.0"),
    "a package that is not there": (
        {"tfserving_apt_package": "tensorflow-model-server-universal"},
        "Unable to locate package tensorflow-model-server-universal",
    ),
}


@pytest.fixture
def apt(host, apt_files):
    """What must be the same after a run that fails."""
    return lambda: (apt_files(), host.check_output("apt-cache policy"), host.check_output(INSTALLED))


@pytest.fixture
def other_key(host):
    """A key that the repository is not signed with, on the host."""
    make = "gpg --homedir /tmp/other-key --batch --passphrase '' --quick-generate-key"
    host.check_output("mkdir -m 700 /tmp/other-key")
    host.check_output(f"{make} other@example.com ed25519 sign never")
    host.check_output("gpg --homedir /tmp/other-key --armor --output /tmp/other-key/key.asc --export")
    yield {
        "tfserving_apt_key_url": "/tmp/other-key/key.asc",
        "tfserving_apt_key_fingerprint": host.check_output(FINGERPRINT),
    }
    host.check_output("gpgconf --homedir /tmp/other-key --kill all")
    host.check_output("rm -r /tmp/other-key")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("a suite that is not there", marks=pytest.mark.long),
        "a version that is not there",
        pytest.param("a package that is not there", marks=pytest.mark.long),
    ],
)
def test_what_cannot_be_installed_leaves_apt_as_it_was(site, apt, fault):
    wishes, words = FAULTS[fault]
    before = apt()
    run = site(**wishes)
    assert run.status != 0
    assert words in run.message
    assert apt() == before


def test_a_key_that_has_not_signed_the_repository_goes_again(site, apt, other_key):
    before = apt()
    run = site(**other_key)
    assert run.status != 0
    assert BACK in run.message
    assert apt() == before


def test_what_a_killed_run_put_into_apt_goes_with_the_next_that_fails(site, host, apt):
    before = apt()
    site(kill_at="Refresh the package index", tfserving_apt_suite="unstabel")
    assert host.file("/etc/apt/sources.list.d/tfserving.sources").contains("unstabel")
    run = site(tfserving_apt_suite="unstabel")
    assert run.status != 0
    assert BACK in run.message
    assert apt() == before


def test_an_entry_by_hand_for_the_same_repository_is_named_and_left_alone(site, host, apt):
    before = apt()
    own, by_hand = (f"/etc/apt/sources.list.d/{name}" for name in ("tfserving.sources", "tensorflow-serving.list"))
    uri, suite = (host.check_output("sed -n 's/^%s: //p' %s", field, own) for field in ("URIs", "Suites"))
    entry = f"deb [signed-by=/usr/share/keyrings/by-hand.gpg] {uri} {suite} tensorflow-model-server"
    host.check_output("echo %s > %s", entry, by_hand)
    try:
        run = site()
        left = host.file(by_hand).content_string.strip()
    finally:
        host.check_output("rm %s", by_hand)
    assert run.status != 0
    signed = "signed by /usr/share/keyrings/by-hand.gpg"
    assert f"{by_hand}:1: names the repository that this role keeps in {own}, {signed}, and apt takes" in run.message
    assert left == entry
    assert apt() == before


@pytest.mark.long
def test_a_host_that_never_had_the_repository_is_left_without_it(site, host, apt):
    files = "/etc/apt/keyrings/tfserving.gpg /etc/apt/sources.list.d/tfserving.sources /etc/apt/preferences.d/tfserving"
    records = "/var/lib/tfserving-fleet/trees/tfserving-apt"
    host.check_output(f"mkdir /tmp/aside && cp --archive --parents {files} {records} /tmp/aside")
    host.check_output(f"rm -r {files} {records}")
    try:
        before = apt()
        run = site(tfserving_apt_suite="unstabel")
        assert run.status != 0
        assert BACK in run.message
        assert apt() == before
    finally:
        host.check_output("cp --archive /tmp/aside/. / && rm -r /tmp/aside")


@pytest.mark.long
def test_what_can_be_installed_stays(site, host, apt):
    run = site(tfserving_version="2.20.0")
    assert run.status == 0, run.output
    before = apt()
    assert "2.20.0" in before[2]
    assert site(tfserving_version="2.99.0").status != 0
    assert apt() == before
    assert site().status == 0
    assert not site().changed
