# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A release copied from an installed package, so that an upgrade of the package does not affect running servers."""

from __future__ import annotations

import os
import re
import shutil
import stat
from typing import Any

from ..disk import folders
from ..disk.digests import file_digest
from . import tree as release_tree
from .ids import BINARY, VERSION
from .job import Job
from .store import TREE

# The prefix of dpkg's paths; tests have a tree of their own.
HOST = ""

# Texts of the package, not needed to run it.
LEFT_OUT = "/usr/share/doc/"


def build(job: Job) -> dict[str, Any]:
    """Make ``rootfs`` in the job's place; return the facts to record. Raises WishError."""
    job.insist_on("dpkg-query")
    package = job.params["package"]
    _check_installed(job, package)
    files = _files(job, package)
    job.store.require(sum(os.lstat(HOST + path).st_size for path in files), job.where)
    root = os.path.join(job.place, TREE)
    folders.make(root)
    for path in files:
        _copy(HOST + path, root + path)
    binary = root + BINARY
    if not release_tree.runnable(binary):
        raise job.refusal(f"the package {package} holds no executable {BINARY}", "name a package of the server")
    job.check_built_for(release_tree.elf_architecture(binary), f"{BINARY} of {package}")
    return {
        "architecture": job.architecture,
        "library_path": "",
        "glibc": "",
        "digest": f"sha256:{file_digest(binary)}",
    }


def _check_installed(job: Job, package: str) -> None:
    shown = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", package]
    status, out, _err = job.run(shown, "/")
    state, _blank, version = out.strip().partition(" ")
    wished = job.params["version"]
    remedy = f"install {package}={wished} first"
    if status != 0 or state != "installed":
        raise job.refusal(f"the package {package} is not installed on this host", remedy)
    if wished not in (version, upstream(version)):
        raise job.refusal(f"this host has {package} {version}, not {wished}", remedy)


def upstream(version: str) -> str:
    """Return a package's version without Debian's epoch and revision."""
    return re.sub(r"^[0-9]+:", "", version).rpartition("-")[0] or re.sub(r"^[0-9]+:", "", version)


def _files(job: Job, package: str) -> list[str]:
    """Return the paths to copy: regular files and relative links."""
    listed = _answer(job, ["dpkg-query", "--listfiles", package]).splitlines()
    settings = _answer(job, ["dpkg-query", "--show", "--showformat", "${Conffiles}", package]).splitlines()
    left_out = {line.split()[0] for line in settings if line.strip()}
    wanted = [path for path in listed if path.startswith("/") and not path.startswith(LEFT_OUT)]
    return [path for path in wanted if path not in left_out and _copied(HOST + path)]


def _copied(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and not os.readlink(path).startswith("/"))


def _answer(job: Job, command: list[str]) -> str:
    status, out, err = job.run(command, "/")
    if status != 0:
        raise job.refusal(f"dpkg does not report its package ({err.strip()})", f"check {VERSION} and dpkg's database")
    return out


def _copy(path: str, target: str) -> None:
    folders.make(os.path.dirname(target))
    shutil.copyfile(path, target, follow_symlinks=False)
    if not os.path.islink(path):
        os.chmod(target, stat.S_IMODE(os.stat(path).st_mode) & 0o755)
