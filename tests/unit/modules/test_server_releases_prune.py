# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Removing releases: what goes, and all that keeps one from going."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.use import surplus
from ansible_collections.tfserving.fleet.plugins.modules import server_releases_prune
from hypothesis import given
from hypothesis import strategies as st
from running import run_module

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="this is not root")
IDS = ["serving@sha256-1", "serving@sha256-2", "serving@sha256-3", "tensorflow-model-server@2.19.1"]
BINARY = "usr/bin/tensorflow_model_server"
# Says that it runs, and goes on until its input ends.
WAIT = "import sys; print('up', flush=True); sys.stdin.read()"
WAIT_IN_ROOT = f"import os, sys; os.chroot(sys.argv[1]); {WAIT}"
# As systemd does for RootDirectory=: the tree becomes the root of a mount namespace, where no link of /proc names it.
WAIT_IN_NAMESPACE = f"""
import ctypes, os, subprocess, sys
subprocess.run(["mount", "--bind", sys.argv[1], sys.argv[1]], check=True)
os.chdir(sys.argv[1])
MS_MOVE = 8192
assert ctypes.CDLL(None).mount(b".", b"/", None, MS_MOVE, None) == 0
os.chroot(".")
{WAIT}
"""


class Releases:
    """A directory of releases, IDS from the oldest to the newest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for at, name in enumerate(IDS):
            self.add(name, at)

    def add(self, name: str, at: int) -> None:
        binary = self.binary(name)
        binary.parent.mkdir(parents=True)
        binary.write_text("#!/bin/sh\necho up\nread line\n")
        binary.chmod(0o755)
        chroot = name.startswith("serving")
        record = {"id": name, "chroot": chroot, "size_bytes": 10, "binary": f"/{BINARY}" if chroot else str(binary)}
        path = self.root / name / "release.json"
        path.write_text(json.dumps(record))
        os.utime(path, (at, at))

    def tree(self, name: str) -> Path:
        return self.root / name / "rootfs"

    def binary(self, name: str) -> Path:
        return self.tree(name) / BINARY

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.name != ".lock")

    def prune(self, keep: int = 1, in_use: tuple[str, ...] = (), check: bool = False) -> dict[str, Any]:
        return server_releases_prune.prune({"root": str(self.root), "keep": keep, "in_use": list(in_use)}, check)


@pytest.fixture
def releases(tmp_path) -> Releases:
    return Releases(tmp_path / "releases")


@pytest.fixture
def start() -> Iterator[Any]:
    """Start a process and wait until it says that it runs."""
    started = []

    def start_process(*command: object, echo: bool = False) -> int:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        if echo:
            process.stdin.write(b"up\n")
            process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        return process.pid

    yield start_process
    for process in started:
        process.communicate()


def test_the_oldest_go_and_the_rest_stays(releases):
    result = releases.prune(keep=2)
    assert result["removed"] == [IDS[1], IDS[0]]
    assert (result["changed"], result["releases"], result["freed_bytes"]) == (True, [IDS[3], IDS[2]], 20)
    assert releases.names() == sorted(IDS[2:])
    assert not releases.prune(keep=2)["changed"]


def test_what_is_named_as_in_use_stays(releases):
    assert releases.prune(keep=0, in_use=(IDS[0], "other@1"))["releases"] == [IDS[0]]
    assert releases.names() == [IDS[0]]


@as_root
def test_what_a_process_has_as_its_root_stays(releases, start):
    pid = start(sys.executable, "-c", WAIT_IN_ROOT, releases.tree(IDS[0]))
    result = releases.prune()
    assert result["kept"] == {IDS[0]: f"process {pid} runs from it"}
    assert releases.names() == sorted([IDS[0], IDS[3]])


@as_root
def test_what_a_process_in_a_mount_namespace_of_its_own_has_as_its_root_stays(releases, start):
    tree = releases.tree(IDS[0])
    if subprocess.run(["unshare", "--mount", "mount", "--bind", tree, tree], capture_output=True).returncode != 0:
        pytest.skip("mount namespaces are not allowed here")
    pid = start("unshare", "--mount", sys.executable, "-c", WAIT_IN_NAMESPACE, tree)
    assert str(tree) not in os.readlink(f"/proc/{pid}/root")
    assert releases.prune()["kept"] == {IDS[0]: f"process {pid} runs from it"}


def test_what_a_script_runs_from_stays(releases, start):
    pid = start(releases.binary(IDS[3]))
    releases.add("newer@1", 9)
    assert releases.prune()["kept"] == {IDS[3]: f"process {pid} runs from it"}


@pytest.mark.parametrize("linked", [False, True])
def test_what_a_program_runs_from_stays_by_whatever_name_it_was_started(releases, start, tmp_path, linked):
    binary = releases.binary(IDS[0])
    shutil.copy(shutil.which("cat"), binary)
    other = tmp_path / "other-name"
    os.link(binary, other)
    pid = start(other if linked else binary, echo=True)
    assert releases.prune()["kept"] == {IDS[0]: f"process {pid} runs from it"}


@as_root
def test_what_something_is_mounted_in_stays(releases, tmp_path):
    source, point = tmp_path / "precious", releases.tree(IDS[0]) / "a b"
    source.mkdir()
    (source / "file").write_text("kept")
    point.mkdir()
    if subprocess.run(["mount", "--bind", source, point], capture_output=True).returncode != 0:
        pytest.skip("mounts are not allowed here")
    try:
        assert releases.prune()["kept"] == {IDS[0]: f"{point} is mounted"}
    finally:
        subprocess.run(["umount", point], check=True)
    assert (source / "file").read_text() == "kept"


def test_check_mode_says_the_same_and_removes_nothing(releases):
    (releases.root / ".staging-x@1").mkdir()
    before = releases.names()
    foretold = releases.prune(check=True)
    assert releases.names() == before
    assert foretold == releases.prune()
    assert foretold["swept"] == [".staging-x@1"]
    assert foretold["diff"]["after"] == f"{IDS[3]}\n"


def test_leftovers_are_swept_and_what_is_no_release_is_left_alone(releases):
    for name in (".staging-x@1", ".deleted-y@2", "notes", "unfinished@1"):
        (releases.root / name).mkdir()
    result = releases.prune(keep=9)
    assert (result["changed"], result["swept"], result["removed"]) == (True, [".deleted-y@2", ".staging-x@1"], [])
    assert releases.names() == sorted([*IDS, "notes", "unfinished@1"])


def test_a_host_without_releases_stays_so(tmp_path):
    result = server_releases_prune.prune({"root": str(tmp_path / "no"), "keep": 1, "in_use": []}, False)
    assert (result["changed"], result["releases"]) == (False, [])
    assert not (tmp_path / "no").exists()


def test_nothing_is_removed_while_a_release_is_being_installed(releases):
    (releases.root / ".staging-x@1").mkdir()
    with open(releases.root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert releases.prune(check=True)["swept"] == []
        with pytest.raises(WishError) as refusal:
            releases.prune()
    assert str(refusal.value) == (
        f"{releases.root}: another run is working on the releases of this host; wait for its end, then run again"
    )


def test_a_number_below_nothing_is_refused(releases):
    with pytest.raises(WishError) as refusal:
        releases.prune(keep=-1)
    assert str(refusal.value) == "keep: -1 is not a number of releases; use 0 or more"


def test_the_module_removes_and_tells(releases):
    arguments = {"root": str(releases.root), "keep": 1, "in_use": [IDS[0]]}
    result = run_module(server_releases_prune, **arguments)
    assert (result["changed"], result["removed"]) == (True, [IDS[2], IDS[1]])


@given(st.lists(st.sampled_from(IDS), unique=True), st.integers(0, 5), st.sets(st.sampled_from(IDS)))
def test_neither_the_newest_nor_what_is_in_use_is_ever_surplus(newest_first, keep, in_use):
    found = surplus(newest_first, keep, in_use)
    assert not set(found) & (in_use | set(newest_first[:keep]))
    assert len(newest_first) - len(found) <= keep + len(in_use)
