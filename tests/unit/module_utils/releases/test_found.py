# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host has of the server already, and what follows from it."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.found import listed, of_version, read

PACKAGE, UNIVERSAL = "tensorflow-model-server", "tensorflow-model-server-universal"
WANTED = "tensorflow-model-server@2.19.1"


class Host:
    """A directory of releases, and a dpkg-query that answers as it is told."""

    def __init__(self, root) -> None:
        self.root, self.answer, self.asked = root, (1, "", ""), []

    def release(self, name: str, at: int = 0) -> None:
        (self.root / name).mkdir(parents=True)
        record = self.root / name / "release.json"
        record.write_text(json.dumps({"id": name}))
        os.utime(record, (at, at))

    def packages(self, *lines: str, status: int = 0) -> None:
        self.answer = (status, "".join(f"{line}\n" for line in lines), "")

    def read(self, **options):
        def run(arguments: list[str]) -> tuple[int, str, str]:
            self.asked.append(arguments)
            return self.answer

        given = {"method": "apt", "package": PACKAGE, "version": "2.19.1", "tools": [], "keep": 1, "in_use": [WANTED]}
        return read({"root": str(self.root), "release": str(self.root / WANTED), **given, **options}, run)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "releases")


def test_a_host_without_anything_lacks_everything(host):
    assert host.read(tools=["gnupg"]) == {
        "release_due": True,
        "prune_due": True,
        "missing_tools": ["gnupg"],
        "package": {"due": True, "installed": False, "held": False, "rivals": []},
    }


def test_a_host_with_everything_lacks_nothing(host):
    host.release(WANTED)
    host.packages("gnupg 2.2.40-1.1 install installed", f"{PACKAGE} 2.19.1 hold installed")
    assert host.read(tools=["gnupg"]) == {
        "release_due": False,
        "prune_due": False,
        "missing_tools": [],
        "package": {"due": False, "installed": True, "held": True, "rivals": []},
    }
    assert len(host.asked) == 1


def test_a_directory_without_a_record_is_no_release(host):
    (host.root / WANTED).mkdir(parents=True)
    assert host.read()["release_due"]


@pytest.mark.parametrize(
    ("line", "due"),
    [
        (f"{PACKAGE} 2.19.1 install installed", False),
        (f"{PACKAGE} 2.19.1-2 hold installed", False),
        (f"{PACKAGE} 2.18.0 hold installed", True),
        (f"{PACKAGE} 2.19.1 deinstall config-files", True),
        (f"{PACKAGE}  unknown not-installed", True),
        (f"{UNIVERSAL} 2.19.1 install installed", True),
    ],
)
def test_a_missing_release_needs_its_package_in_the_wanted_version(host, line, due):
    host.packages(line)
    assert host.read()["package"]["due"] is due


def test_a_release_that_is_there_needs_no_package(host):
    host.release(WANTED)
    host.packages(f"{PACKAGE} 2.18.0 hold installed")
    assert host.read()["package"] == {"due": False, "installed": True, "held": True, "rivals": []}


@pytest.mark.parametrize(("ours", "theirs"), [(PACKAGE, UNIVERSAL), (UNIVERSAL, PACKAGE)])
def test_the_other_build_has_to_go(host, ours, theirs):
    host.packages(f"{theirs} 2.19.1 hold installed")
    assert host.read(package=ours)["package"]["rivals"] == [theirs]
    host.packages(f"{theirs} 2.19.1 deinstall config-files")
    assert host.read(package=ours)["package"]["rivals"] == []


@pytest.mark.parametrize("method", ["image", "archive"])
def test_no_package_is_asked_for_where_the_release_is_made_from_none(host, method):
    assert host.read(method=method)["package"] == {"due": False, "installed": False, "held": False, "rivals": []}
    assert host.asked == []


@pytest.mark.parametrize(
    ("keep", "in_use", "due"),
    [(1, [WANTED], True), (2, [WANTED], False), (1, [WANTED, "old@1"], False)],
)
def test_releases_beyond_those_to_keep_are_to_be_removed(host, keep, in_use, due):
    host.release("old@1", at=1)
    host.release(WANTED, at=2)
    assert host.read(keep=keep, in_use=in_use)["prune_due"] is due


def test_what_a_killed_run_left_is_to_be_removed(host):
    host.release(WANTED)
    (host.root / ".staging-old@1").mkdir()
    assert host.read()["prune_due"]


def test_a_new_release_may_make_an_old_one_surplus(host):
    host.release("old@1")
    assert host.read()["prune_due"]


def test_a_broken_database_is_refused(host):
    host.answer = (2, "", "dpkg-query: error: failed to open package info file\n")
    with pytest.raises(WishError) as refusal:
        host.read()
    assert str(refusal.value) == (
        "dpkg-query: cannot list packages (dpkg-query: error: failed to open package info file);"
        " check dpkg's database on this host"
    )


@pytest.mark.parametrize("installed", ["2.19.1", "2.19.1-1", "2.19.1+local", "2.19.1~rc1"])
def test_a_revision_is_of_its_version(installed):
    assert of_version(installed, "2.19.1")


@pytest.mark.parametrize("installed", ["2.19.10", "2.19", "12.19.1", "2.19.1 ", "2x19.1", ""])
def test_what_only_looks_alike_is_another_version(installed):
    assert not of_version(installed, "2.19.1")


def test_only_what_is_installed_is_listed():
    text = "a 1 install installed\nb  unknown not-installed\nc 3 hold installed\nd 4 install half-configured\n"
    assert {name: tuple(package) for name, package in listed(text).items()} == {"a": ("1", False), "c": ("3", True)}
