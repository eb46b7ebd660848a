# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A release made from a tarball, a zip or a bare program: a custom build."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..disk import archives, folders
from ..disk.archive_entries import MOST_SHOWN_NAMES, DamagedError, shown
from ..disk.digests import compare, file_digest
from ..errors import RefusalError
from ..web import download
from . import tree as release_tree
from .ids import PROGRAM
from .job import Job
from .store import TREE

REPACK = (
    "give the bare program, or a tar or zip of regular files with relative names (tar --dereference --hard-dereference)"
)


def build(job: Job) -> dict[str, Any]:
    """Make ``rootfs`` in the job's place; return the facts to record. Raises WishError."""
    source = _proven(job)
    root = os.path.join(job.place, TREE)
    os.mkdir(root, 0o700)
    inner = os.path.relpath(job.plan["binary"], os.path.join(job.plan["path"], TREE))
    if release_tree.is_program(source):
        job.store.require(os.path.getsize(source), job.where)
        folders.make(os.path.dirname(os.path.join(root, inner)))
        shutil.copyfile(source, os.path.join(root, inner))
    else:
        _unpack(job, source, root, inner)
    if source.startswith(job.place):
        os.unlink(source)
    release_tree.settle(root)
    binary = os.path.join(root, inner)
    if not release_tree.runnable(binary):
        raise job.refusal(
            f"{inner} in the archive is neither an ELF program nor a script", "set binary to the server's path"
        )
    job.check_built_for(release_tree.elf_architecture(binary), f"{inner} in the archive")
    return {"architecture": job.architecture, "library_path": "", "glibc": ""}


def _proven(job: Job) -> str:
    """Return the release's source file on this host, with its checksum verified."""
    path = job.params.get("archive")
    uri = job.params.get("archive_address") or job.params.get("archive_uri") or ""
    with _refusing(job):
        if path and not os.path.isfile(path):
            raise RefusalError(f"{path} is not a file on this host", "put it there, or give an address as uri")
        if path:
            found = file_digest(path)
        elif "://" in uri:
            path = os.path.join(job.place, "download")
            timeout = job.params["download_timeout"]
            found = download.download(
                uri, path, headers={}, timeout=timeout, room=job.store.free,
                announce=lambda size: job.store.require(size, job.where),
            )  # fmt: skip
        else:
            raise RefusalError(f"{uri or 'the archive'} is not on this host", "give the option archive its path here")
        compare(job.plan["digest"].partition(":")[2], found)
    return path


def _unpack(job: Job, source: str, root: str, inner: str) -> None:
    with _refusing(job, REPACK):
        found = archives.survey(source)
    if inner not in found.files:
        raise _misplaced(job, inner, found)
    job.store.require(found.footprint, job.where)
    with _refusing(job, REPACK):
        archives.unpack(source, "", root, found.files)


def _misplaced(job: Job, inner: str, found: archives.Survey) -> Exception:
    places = sorted(path for path in found.files if path.rpartition("/")[2] == PROGRAM)
    if not places:
        return job.refusal(f"the archive holds no {inner}", "set binary to the path of the server in it")
    named = " and ".join(map(shown, places[:MOST_SHOWN_NAMES]))
    return job.refusal(f"the archive holds no {inner} but {named}", f"set binary to {shown(places[0])}")


@contextmanager
def _refusing(job: Job, remedy: str | None = None) -> Iterator[None]:
    """Name the wish that a refusal concerns; ``remedy`` replaces those that are about models."""
    try:
        yield
    except DamagedError as refusal:
        raise job.refusal(refusal.problem, refusal.remedy) from refusal
    except RefusalError as refusal:
        raise job.refusal(refusal.problem, remedy or refusal.remedy) from refusal
