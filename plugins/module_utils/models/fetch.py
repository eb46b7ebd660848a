# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fetching versions from their sources, ready to be published."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..disk import archives
from ..disk.digests import compare, file_digest
from ..disk.space import FULL
from ..errors import RefusalError, WishError
from ..golden import warmup
from ..saved_model import check as model_check
from ..web.address import shown
from ..web.download import download
from .peers.incoming import Incoming
from .sources import table as sources
from .store import Store, now
from .wanted import Request


@dataclass
class Bench:
    """The work of this host on one version.

    ``place`` is a private directory for downloads, ``size`` the bytes that the version will take, if already known.
    """

    request: Request
    store: Store
    params: Mapping[str, Any]
    place: str = ""
    size: int | None = None

    @property
    def sent(self) -> Mapping[str, Any]:
        return self.params["staged"].get(self.request.key) or {}

    def require(self, size: int) -> None:
        """Refuse a version that does not fit."""
        self.size = size
        self.store.require(size)

    def download(self, headers: Mapping[str, str]) -> tuple[str, str]:
        path, room, timeout = os.path.join(self.place, "archive"), self.store.room, self.params["download_timeout"]
        headers = {**self.params["headers"], **headers}
        uri, announce = self.request.uri, self.require
        return path, download(uri, path, headers=headers, timeout=timeout, announce=announce, room=room)

    def examine(self, path: str) -> None:
        found = archives.survey(path, self.store.room())
        prefix = archives.model_root(found)
        archives.check_saved_model(found.below(prefix))
        self.store.require(found.below(prefix).footprint)
        with tempfile.TemporaryDirectory(prefix="tfserving-model-") as scratch:
            model_check.of_source(path, prefix, found, self.request.demands, scratch)
        if self.request.sha256:
            directory = os.path.isdir(path)
            digest = archives.directory_digest(os.path.join(path, prefix)) if directory else None
            compare(self.request.sha256, digest or file_digest(path))

    def differs(self, path: str) -> bool:
        # One that is gone is no reason to touch what is published; one that is no model any more is refused later.
        published = (self.request.published.get("sha256"), self.request.published.get("tree"))
        try:
            if not os.path.isdir(path):
                return os.path.exists(path) and file_digest(path) not in published
            found = archives.survey(path)
            return archives.directory_digest(os.path.join(path, archives.model_root(found))) not in published
        except RefusalError:
            return True
        except OSError:
            return False


@dataclass
class Staged:
    """A version made ready: its sealed tree and what its marker will say.

    ``unchecked`` is true for a download without a checksum to compare. ``notes`` are on its warm-up records.
    """

    request: Request
    tree: str
    record: dict[str, Any]
    unchecked: bool
    notes: list[str]


def inspect(bench: Bench) -> None:
    """Refuse a source that cannot be published, if that can be told without a download. Nothing is written."""
    look = sources.of(bench.request.source).inspect
    if look:
        with refusing(bench):
            look(bench)


def has_other_content(bench: Bench) -> bool:
    """Return whether a version that never served is to be replaced, because its source has other content."""
    compare_content = sources.of(bench.request.source).has_other_content
    return bool(bench.request.sha256) or not compare_content or compare_content(bench)


def stage(bench: Bench) -> Staged:
    """Fetch one version into the private directory ``place`` and make it ready to appear."""
    try:
        return _stage(bench)
    except BaseException:
        # Before anything is said about it: a refusal for want of space tells the space that there is without it.
        shutil.rmtree(bench.place, ignore_errors=True)
        raise


def _stage(bench: Bench) -> Staged:
    if bench.sent.get("incoming"):
        return _taken(bench)
    request, store = bench.request, bench.store
    found = sources.of(request.source).obtain(bench)
    if found.sha256 and found.wished:
        compare(found.wished, found.sha256)
    content = archives.survey(found.path, store.room())
    prefix = archives.model_root(content)
    inner = content.below(prefix)
    archives.check_saved_model(inner)
    bench.require(inner.footprint)
    tree = os.path.join(bench.place, "tree")
    os.mkdir(tree, 0o700)
    digest = archives.tree_digest(archives.unpack(found.path, prefix, tree, inner.files))
    if found.wished and not found.sha256:
        compare(found.wished, digest)
    if found.ours:
        os.unlink(found.path)  # the next version needs the room
    return _finished(bench, tree, inner.files, found.sha256, digest, found.ours and not found.wished)


def _taken(bench: Bench) -> Staged:
    """Make a version ready that another host has sent, file by file as the controller knows them."""
    request, tree = bench.request, os.path.join(bench.place, "tree")
    archive = None if bench.sent["directory"] else bench.sent["sha256"]
    manifest = Incoming(bench.store, request.model.name, request.version).take(tree, bench.sent["sha256"])
    content = archives.survey(tree)
    archives.check_saved_model(content)
    return _finished(bench, tree, content.files, archive, manifest.tree, False)


def _finished(
    bench: Bench, tree: str, files: Mapping[str, int], archive: str | None, digest: str, unchecked: bool
) -> Staged:
    """Check an unpacked version, add warm-up records, and bring it to the disk; ``digest`` is that of its listing."""
    request = bench.request
    model_check.check(tree, files, request.demands)
    warming, notes = _warm_up(tree, files, request)
    bench.store.seal(tree)
    record = {"sha256": archive, "tree": digest, "uri": shown(request.uri), "published": now(), **warming}
    return Staged(request, tree, record, unchecked, notes)


def _warm_up(tree: str, files: Mapping[str, int], request: Request) -> tuple[dict[str, Any], list[str]]:
    """Add warm-up records to an unpacked version that brings none; return what its marker says of them, and notes."""
    wish, name = request.model.warmup_of(request.version), f"{request.model.name}: version {request.version}"
    if not wish.requests:
        return {}, []
    if model_check.GRAPH not in files:
        return {}, [f"{name} has no {model_check.GRAPH}, which warm-up records are made by, so it gets none"]
    found = warmup.add(tree, wish, request.model.name, model_check.signatures_of(tree, request.demands))
    if found is None:
        return {}, []
    sizes = ", ".join(str(size) for size in found.left_out if size)
    left_out = [f"{name} has no warm-up records for batches of {sizes}, which would be too large"] if sizes else []
    return {"warmup": {"of": wish.digest, "records": found.records, "sizes": found.sizes}}, left_out


@contextmanager
def refusing(bench: Bench) -> Iterator[None]:
    """Say of which wish a refusal is, and turn a full disk and other trouble with files into one."""
    try:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise bench.store.too_full(bench.size) from error
            at = f" at {error.filename}" if error.filename else ""
            raise RefusalError(f"{error.strerror or error}{at}", "check that host") from error
    except RefusalError as refusal:
        where = f"{bench.request.model.where}.{refusal.key}"
        problem = f"version {bench.request.version} cannot be published: {refusal.problem}"
        raise WishError(where, problem, refusal.remedy) from refusal
