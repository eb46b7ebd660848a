# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Entries of apt that somebody made by hand, and which would break apt beside ours."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import apt_sources
from refusing import refusal

URI = "https://storage.googleapis.com/tensorflow-serving-apt"
KEY = "/etc/apt/keyrings/tfserving.gpg"
OWN = "/etc/apt/sources.list.d/tfserving.sources"


@pytest.fixture
def host(tmp_path):
    (tmp_path / apt_sources.FOLDER).mkdir(parents=True)
    return tmp_path


def judged(host):
    return refusal(apt_sources.check, apt_sources.read(str(host)), URI, ["stable"], KEY, OWN)


def sentence(file, line, signed):
    return (
        f"{file}:{line}: names the repository that this role keeps in {OWN}, {signed}, and apt takes one key for both "
        "or fails altogether; remove that entry; nothing has been changed"
    )


SPELT = [
    URI,
    URI + "/",
    URI + "//",
    "http://storage.googleapis.com/tensorflow-serving-apt",
    "HTTPS://Storage.GoogleAPIs.com:443/tensorflow-serving-apt/",
    "http://storage.googleapis.com:80/tensorflow-serving-apt",
    "https://me:secret@storage.googleapis.com/tensorflow-serving-apt",
]


@pytest.mark.parametrize("uri", SPELT)
def test_an_entry_in_one_line_is_found_however_it_is_spelt(host, uri):
    (host / apt_sources.FOLDER / "by-hand.list").write_text(
        f"# ours\n\n  deb [ arch=amd64 Signed-By=/usr/share/keyrings/tfs.gpg ] {uri} stable main # x\n"
    )
    file = "/etc/apt/sources.list.d/by-hand.list"
    assert judged(host) == sentence(file, 3, "signed by /usr/share/keyrings/tfs.gpg")


@pytest.mark.parametrize(
    ("options", "uri", "signed"),
    [
        ('signed-by="/x"', f'"{URI}"', "/x"),
        ("signed-by=/x#y", URI, "/x#y"),
        ("signed-by=/x", URI.replace("-", "%2d"), "/x"),
        (f"signed-by={'x' * 999}", URI, "x" * 199 + "…"),
    ],
    ids=["quotes", "a comment's sign", "escapes", "long"],
)
def test_an_entry_in_one_line_is_read_as_apt_reads_its_words(host, options, uri, signed):
    (host / apt_sources.FOLDER / "by-hand.list").write_text(f"deb [{options}] {uri} stable main # [x\n")
    assert judged(host) == sentence("/etc/apt/sources.list.d/by-hand.list", 1, f"signed by {signed}")


@pytest.mark.parametrize("uri", SPELT)
def test_an_entry_in_fields_is_found_however_it_is_spelt(host, uri):
    (host / apt_sources.FOLDER / "by-hand.sources").write_text(
        f"Types: deb\nURIs: https://x/y\nSuites: a\n\n# next\nTypes: deb\nuris:\n http://x/\n {uri}\nSUITES: other"
        " stable\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n"
    )
    file = "/etc/apt/sources.list.d/by-hand.sources"
    assert judged(host) == sentence(file, 6, "signed by its own text")


def test_one_without_a_key_one_that_is_trusted_and_one_for_source_packages_conflict_too(host):
    (host / apt_sources.FOLDER / "zz.list").write_text(
        f"deb {URI} stable a\ndeb-src [trusted=yes signed-by={KEY}] {URI} stable a\n"
        f"deb [signed-by={KEY}] {URI} stable b\n"
    )
    assert judged(host).split("\n") == [
        sentence("/etc/apt/sources.list.d/zz.list", 1, "without a key of its own"),
        "and 1 more:",
        "- " + sentence("/etc/apt/sources.list.d/zz.list", 2, f"signed by {KEY}"),
    ]


@pytest.mark.parametrize("path", [apt_sources.MAIN, f"{apt_sources.FOLDER}/aa.list"])
def test_one_without_a_key_that_apt_reads_before_ours_goes_with_it(host, path):
    # As Debian's own sources.list does with the archive's entry of nvidia_driver.
    (host / path).write_text(f"deb {URI} stable a\n")
    assert judged(host) == ""


def test_what_apt_does_not_read_or_takes_with_ours_is_nobodys_concern(host):
    folder = host / apt_sources.FOLDER
    (folder / "tfserving.sources").write_text(f"Types: deb\nURIs: {URI}\nSuites: stable\nSigned-By: {KEY}x\n")
    (folder / "off.sources").write_text(f"Enabled: no\nTypes: deb\nURIs: {URI}\nSuites: stable\n")
    (folder / "old.list.save").write_text(f"deb {URI} stable a\n")
    (folder / ".hidden.list").write_text(f"deb [signed-by=/a] {URI} stable a\n")
    (folder / "with blank.list").write_text(f"deb {URI} stable a\n")
    (folder / "other.list").write_text(
        f"#deb {URI} stable a\ndeb {URI} testing a\ndeb {URI}-2 stable a\ndebs {URI} stable a\n"
    )
    (folder / "port.list").write_text("deb https://storage.googleapis.com:8443/tensorflow-serving-apt stable a\n")
    assert judged(host) == ""


def test_neither_credentials_nor_what_is_no_file_come_back(host):
    folder = host / apt_sources.FOLDER
    (folder / "a.list").write_bytes(b"deb https://me:secret@h/x stable\ndeb http://[::1/x stable\n\xff\xfe\ndeb [x\n")
    os.mkfifo(folder / "b.list")
    (folder / "c.list").mkdir()
    (folder / "d.sources").symlink_to("d.sources")
    (folder / "e.sources").write_text(" lost\n:\nURIs\n\n" * 100)
    with (folder / "f.list").open("wb") as file:
        file.truncate(3 << 30)
    found = apt_sources.read(str(host))
    assert [entry["uri"] for entry in found] == ["http://h/x", "http://[::1/x"]


def test_a_host_without_apt_has_no_entries(tmp_path):
    assert apt_sources.read(str(tmp_path)) == []
