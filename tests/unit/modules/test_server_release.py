# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole: what it does as a process, and what it refuses to take for a release."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from ansible_collections.tfserving.fleet.plugins.modules import server_release
from patience import LONG_S
from registry_double import NOWHERE, registry
from release_images import SERVER, at_once, host, layout, with_tools
from running import run_module

__all__ = ["at_once", "host", "layout", "registry"]  # fixtures

PACKAGE = "ansible_collections.tfserving.fleet.plugins.modules"
PROCESS = f"""
import json, sys
from ansible.module_utils.testing import patch_module_args
from {PACKAGE} import server_release
with patch_module_args(json.loads(sys.argv[1])):
    server_release.main()
"""


@pytest.fixture
def run(host):
    """Run the module in this process and return its result."""

    def call(check=False, **arguments):
        arguments = {"root": str(host.root), "version": "2.19.1", "_ansible_check_mode": check, **arguments}
        umask = os.umask(0o077)
        try:
            return run_module(server_release, **arguments)
        finally:
            os.umask(umask)

    return call


@with_tools
def test_the_module_installs_once_and_whatever_the_umask_others_can_read_it(run, layout, host):
    first = run(method="image", image=layout.reference)
    assert first["changed"], first
    for path in (host.root, *Path(first["release"]["path"]).rglob("*")):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o004, path
    second = run(method="image", image=layout.reference)
    assert (second["changed"], second["release"]) == (False, first["release"])


def test_the_module_foretells_in_check_mode(run, layout, host):
    result = run(check=True, method="image", image=layout.reference)
    assert (result["changed"], result["diff"]["before"]) == (True, "")
    assert not host.root.exists()


def test_the_module_fails_with_a_sentence(run):
    result = run(method="image", image="registry.example/serving:2.19.1")
    assert result["msg"] == (
        "tfserving_images.2.19.1: names no digest; append @sha256:... as `skopeo inspect` prints it"
    )


@with_tools
def test_a_module_killed_while_fetching_leaves_its_staging_alone_and_no_program(host, layout, registry):
    image = f"{NOWHERE}/serving@{layout.digest}"
    wish = {"root": str(host.root), "version": "2.19.1", "method": "image", "image": image}
    wish["mirrors"] = [f"http://{registry.place}"]
    registry.stall.clear()
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, json.dumps(wish)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
    )
    try:
        assert registry.stalled.wait(LONG_S)
        fetching = children_of(process.pid)
        assert fetching
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not any(alive(pid) for pid in fetching))
    assert host.names() == [f".staging-serving@sha256-{layout.digest[7:23]}"]
    registry.stall.set()
    result = host.install(image=image, mirrors=wish["mirrors"])
    assert host.names() == [result["release"]["id"]]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition) -> None:
    """Wait until ``condition`` holds; a test that hangs is ended from outside."""
    while not condition():
        time.sleep(0.01)


# --- what is there already -----------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path) -> dict[str, str]:
    """The options for a release from a bare program."""
    path = tmp_path / "server"
    path.write_bytes(SERVER)
    sha256 = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    return {"method": "archive", "archive": str(path), "archive_sha256": sha256}


REMOVE = "remove it once nothing runs from it, then run again"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: (path / "release.json").unlink(), "has no readable release.json"),
        (lambda path: (path / "release.json").write_text("{"), "has no readable release.json"),
        (lambda path: (path / "release.json").write_text("[" * 100_000), "has no readable release.json"),
        (lambda path: refilled(path / "release.json"), "has no readable release.json"),
        (
            lambda path: (path / "rootfs/tensorflow_model_server").unlink(),
            "holds no executable {path}/rootfs/tensorflow_model_server",
        ),
        (
            lambda path: (path / "rootfs/tensorflow_model_server").chmod(0o644),
            "holds no executable {path}/rootfs/tensorflow_model_server",
        ),
        (
            lambda path: rewrite(path / "release.json", digest="sha256:0"),
            "was made from sha256:0, not from sha256:{sha256}",
        ),
    ],
)
def test_a_release_that_is_not_what_it_should_be_is_neither_used_nor_mended(host, program, damage, problem):
    path = Path(host.install(**program)["release"]["path"])
    damage(path)
    said = host.refusal(**program)
    assert said == f"{path}: {problem.format(path=path, sha256=program['archive_sha256'])}; {REMOVE}"


def refilled(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def rewrite(path: Path, **fields: str) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_two_runs_do_not_work_on_the_same_host(host, program):
    host.root.mkdir(parents=True)
    with open(host.root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert host.refusal(**program, lock_timeout=0) == (
            f"{host.root}: another run is working on the releases of this host; wait for its end, then run again"
        )


def test_a_run_waits_for_another_one_that_ends(host, program):
    host.root.mkdir(parents=True)
    lock = open(host.root / ".lock", "w")  # noqa: SIM115 - closed by the other thread
    fcntl.flock(lock, fcntl.LOCK_EX)
    other = threading.Timer(0.3, lock.close)
    other.start()
    assert host.install(**program)["changed"]
    other.join()


def test_a_release_that_is_there_needs_no_lock(host, program):
    host.install(**program)
    with open(host.root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not host.install(**program)["changed"]


def test_the_planner_and_the_module_mean_the_same_release(host, program):
    entry = {"uri": program["archive"], "sha256": program["archive_sha256"]}
    plan = release_ids.release("2.19.1", "archive", archives={"2.19.1": entry}, root=str(host.root))
    release = host.install(**program)["release"]
    assert {key: release[key] for key in plan} == plan
