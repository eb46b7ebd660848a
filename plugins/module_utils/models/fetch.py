# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Getting a version to where it can be published from: out of the network, the host or the controller."""

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
from ..saved_model import check as model_check
from ..web.address import public
from ..web.download import download
from .store import Store, now
from .wanted import Request


@dataclass
class Need:
    """The bytes that the version in hand will take, as far as is known yet."""

    size: int | None = None


@dataclass
class Staged:
    """A version made ready: its sealed tree and what its marker will say."""

    request: Request
    tree: str
    record: dict[str, Any]


def inspect(request: Request, store: Store) -> None:
    """Find out without writing whether a source on the host is what it should be."""
    with refusing(request, store, Need()):
        source = _on_host(request.uri)
        found = archives.survey(source, store.room())
        prefix = archives.model_root(found)
        archives.check_saved_model(found.below(prefix))
        store.require(found.below(prefix).footprint)
        with tempfile.TemporaryDirectory(prefix="tfserving-model-") as scratch:
            model_check.of_source(source, prefix, found, request.model.demands, scratch)
        if request.sha256:
            directory = os.path.isdir(source)
            digest = archives.directory_digest(os.path.join(source, prefix)) if directory else None
            compare(request.sha256, digest or file_digest(source))


def has_other_content(request: Request) -> bool:
    """Tell whether a source on the host differs from the version that was published from it.

    One that is gone is no reason to touch what is published; one that is no model any more is refused later.
    """
    published = (request.published.get("sha256"), request.published.get("tree"))
    try:
        if not os.path.isdir(request.uri):
            return os.path.exists(request.uri) and file_digest(request.uri) not in published
        found = archives.survey(request.uri)
        return archives.directory_digest(os.path.join(request.uri, archives.model_root(found))) not in published
    except RefusalError:
        return True
    except OSError:
        return False


def stage(store: Store, request: Request, place: str, params: Mapping[str, Any], need: Need) -> Staged:
    """Fetch one version into the private directory ``place`` and make it ready to appear."""
    try:
        return _stage(store, request, place, params, need)
    except BaseException:
        # Before anything is said about it: a refusal for want of space tells the space that there is without it.
        shutil.rmtree(place, ignore_errors=True)
        raise


def _stage(store: Store, request: Request, place: str, params: Mapping[str, Any], need: Need) -> Staged:
    source, wished, sha256 = _obtain(store, request, place, params, need)
    if sha256 and wished:
        compare(wished, sha256)
    found = archives.survey(source, store.room())
    prefix = archives.model_root(found)
    inner = found.below(prefix)
    archives.check_saved_model(inner)
    need.size = inner.footprint
    store.require(inner.footprint)
    tree = os.path.join(place, "tree")
    os.mkdir(tree, 0o700)
    digest = archives.tree_digest(archives.unpack(source, prefix, tree, inner.files))
    if wished and not sha256:
        compare(wished, digest)
    if request.place != "host":
        os.unlink(source)  # the next version needs the room
    model_check.check(tree, inner.files, request.model.demands)
    store.seal(tree)
    published = now()
    uri = public(request.uri) if request.place == "http" else request.uri
    return Staged(request, tree, {"sha256": sha256, "tree": digest, "uri": uri, "published": published})


def _obtain(
    store: Store, request: Request, place: str, params: Mapping[str, Any], need: Need
) -> tuple[str, str | None, str | None]:
    """Return the local source, the checksum it should have, and the one it has if it is an archive."""
    if request.place == "controller":
        sent = params["staged"].get(request.key)
        if not sent:
            raise RefusalError("it is gone since the run began", "run again")
        # A directory travels as a tar of this collection's own making; its checksum is that of its listing.
        return sent["path"], sent["sha256"], None if sent["directory"] else file_digest(sent["path"])
    if request.place == "host":
        source = _on_host(request.uri)
        return source, request.sha256, None if os.path.isdir(source) else file_digest(source)

    def announce(size: int) -> None:
        need.size = size
        store.require(size)

    source = os.path.join(place, "archive")
    headers = {**params["headers"], **(request.model.source.get("headers") or {})}
    timeout = params["download_timeout"]
    found = download(request.uri, source, headers=headers, timeout=timeout, announce=announce, room=store.room)
    return source, request.sha256, found


def _on_host(path: str) -> str:
    if not os.path.exists(path):
        raise RefusalError(f"{path} is not on this host", "put it there, or leave out remote to send it", "source.uri")
    return path


@contextmanager
def refusing(request: Request, store: Store, need: Need) -> Iterator[None]:
    """Say of which wish a refusal is, and turn a full disk and other trouble with files into one."""
    try:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise store.too_full(need.size) from error
            at = f" at {error.filename}" if error.filename else ""
            raise RefusalError(f"{error.strerror or error}{at}", "check that host") from error
    except RefusalError as refusal:
        where = f"{request.model.where}.{refusal.key}"
        problem = f"version {request.version} cannot be published: {refusal.problem}"
        raise WishError(where, problem, refusal.remedy) from refusal
