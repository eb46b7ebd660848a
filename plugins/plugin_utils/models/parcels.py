# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that the controller sends to hosts: checked, and packed once for all hosts of a run.

The needs of a host come from the module model_repository: ``{key, uri, sha256, where, published, incoming, demands}``;
``incoming`` is the checksum of what another host has sent of the version.
``cache`` is Ansible's temporary directory of this run, which all of its workers share.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives, durable
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import compare, file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.space import in_mib
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import check as model_check
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.check import Demands

from ..turn import turn

Need = Mapping[str, Any]


class Parcel(TypedDict):
    """A file to send; for a directory, an archive of it, with the checksum of the directory's listing.

    The file is empty for a version that is not sent: another host has done so already, or nothing is to be changed.
    """

    file: str
    sha256: str
    directory: bool


class Origins(Protocol):
    """Where the versions are."""

    def told(self, need: Need) -> str:
        """Return what a version is called in messages."""

    def place(self, need: Need) -> tuple[str, str]:
        """Return its path on the controller and its checksum if that is known; raise RefusalError.

        The path is empty for a version that is not fetched because nothing is to be changed.
        """


def of_needs(needs: Sequence[Need], origins: Origins, cache: str, pack: bool) -> dict[str, Parcel | None]:
    """Return by key what to send a host, or raise WishErrors with everything that cannot be sent.

    None stands for a version that the host has published already, from the same content or from a source that is gone.
    Unless ``pack``, directories are checked but not packed.
    """
    refusals = Refusals()
    parcels = {need["key"]: refusals.check(_of_need, need, origins, cache, pack) for need in needs}
    refusals.stop()
    return parcels


def require_room(needs: Sequence[Need], parcels: Mapping[str, Parcel | None], room: int) -> None:
    """Refuse parcels that exceed the ``room`` on a host even packed, before they are sent."""
    for need in needs:
        parcel = parcels[need["key"]]
        size = os.path.getsize(parcel["file"]) if parcel and parcel["file"] else 0
        if size > room:
            problem = f"it needs {in_mib(size)} at least and {in_mib(room)} may be used on this host"
            raise WishError(f"{need['where']}.source", problem, "free space there, or keep fewer versions")
        room -= size


def _of_need(need: Need, origins: Origins, cache: str, pack: bool) -> Parcel | None:
    with _told(need, origins, cache):
        path, known = origins.place(need)
        if not path:
            return {"file": "", "sha256": need["sha256"] or "", "directory": True}
        if need["published"] and not _has_other_content(path, cache, need["published"]):
            return None
        demands = Demands.of_plain(need["demands"])
        parcel = prepare(path, cache, pack and not need["incoming"], demands)
        if parcel["sha256"] == need["incoming"]:
            parcel["file"] = ""
        elif pack and need["incoming"]:
            parcel = prepare(path, cache, pack, demands)
        for wished in filter(None, (need["sha256"], known)):
            compare(wished, parcel["sha256"])
    return parcel


@contextmanager
def _told(need: Need, origins: Origins, cache: str) -> Iterator[None]:
    """Say of which version a refusal is."""
    try:
        yield
    except RefusalError as refusal:
        problem = f"{origins.told(need)} cannot be sent: {refusal.problem}"
        raise WishError(f"{need['where']}.{refusal.key}", problem, refusal.remedy) from refusal
    except OSError as error:
        problem = f"{origins.told(need)} cannot be sent: {error.strerror or error}"
        raise WishError(f"{need['where']}.source.uri", problem, _cure(error, cache)) from error


def _cure(error: OSError, cache: str) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "correct the path, or set remote for one on the host"
    return f"free space under {cache}" if error.errno == errno.ENOSPC else "make it readable"


def _has_other_content(path: str, cache: str, published: Sequence[str]) -> bool:
    try:
        return prepare(path, cache, False, None)["sha256"] not in published
    except RefusalError:
        return True
    except OSError:
        return False


def prepare(path: str, cache: str, pack: bool, demands: Demands | None) -> Parcel:
    """Check a source and return its parcel, once for all hosts of a run.

    A directory is packed unless ``pack`` is false; the contents are only checked with ``demands``. Raise RefusalError
    if it is not a model, OSError if it does not exist.
    """
    directory = os.path.isdir(path)
    asked = demands and demands.plain()
    key = hashlib.sha256(json.dumps([path, pack, asked, archives.stamps(path)]).encode()).hexdigest()
    packed = os.path.join(cache, f"tfserving-model-{key}.tar")
    note = f"{packed}.sha256"
    with turn(f"{packed}.lock"):
        if not os.path.exists(note):
            digest = _examine(path, packed if pack else None, cache, demands)
            with open(note, "w", encoding="ascii") as file:
                file.write(digest)
        with open(note, encoding="ascii") as file:
            digest = file.read()
    return {"file": packed if directory else path, "sha256": digest, "directory": directory}


def manifest_of(need: Need, origins: Origins, cache: str) -> dict[str, Any]:
    """Return the manifest of a version, or raise WishError. The need has no more than key, uri, sha256 and where."""
    with _told(need, origins, cache):
        path, known = origins.place(need)
        found = manifest(path, cache)
        for wished in filter(None, (need["sha256"], known)):
            compare(wished, found["sha256"])
    return found


def size_of(need: Need, origins: Origins, cache: str) -> int:
    """Return the bytes of the files of a version, or raise WishError. The need is one that ``manifest_of`` takes."""
    with _told(need, origins, cache):
        path, _known = origins.place(need)
        found = archives.survey(path)
        return sum(found.below(archives.model_root(found)).files.values())


def manifest(path: str, cache: str) -> dict[str, Any]:
    """Return the manifest of a source as peers/manifest.py has it, made once for all hosts of a run.

    Raise RefusalError if it is not a model, OSError if it does not exist.
    """
    key = hashlib.sha256(json.dumps([path, archives.stamps(path)]).encode()).hexdigest()
    note = os.path.join(cache, f"tfserving-manifest-{key}.json")
    with turn(f"{note}.lock"):
        if not os.path.exists(note):
            durable.write(note, json.dumps(_manifest(path, cache)).encode(), 0o600)
        with open(note, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    return found


def _manifest(path: str, cache: str) -> dict[str, Any]:
    found = archives.survey(path)
    prefix = archives.model_root(found)
    sizes = found.below(prefix).files
    digests = archives.digests_below(path, prefix, sizes)
    sha256 = prepare(path, cache, False, None)["sha256"]
    return {"sha256": sha256, "files": {name: [digests[name], sizes[name]] for name in sorted(sizes)}}


def _examine(path: str, packed: str | None, cache: str, demands: Demands | None) -> str:
    found = archives.survey(path)
    prefix = archives.model_root(found)
    if demands:
        archives.check_saved_model(found.below(prefix))
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            model_check.of_source(path, prefix, found, demands, scratch)
    if not os.path.isdir(path):
        return file_digest(path)
    source = os.path.join(path, prefix)
    return archives.pack(source, packed) if packed else archives.directory_digest(source)
