# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A candidate that has passed as a new version of its model: numbered, described, and put where the model's source is.

Nothing is changed in place. A version appears by one rename, whole and with its manifest; whatever is unfinished has a
name that begins with a dot, and the next run removes it.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives, plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from . import document
from .document import Document

# Beside the warm-up records: servers and converters leave what they do not know there alone.
FOLDER = "assets.extra/optimised"
# Some hundred rows of a gate have some ten kilobytes.
LARGEST_MANIFEST = 4 << 20
MANIFEST, REPORT, PAGE = "manifest.json", "report.md", "report.html"
COMPRESSED = (".tar.gz", ".tgz")
WRITTEN = (*COMPRESSED, ".tar")
# A source may be any of these; those that are not written here want a folder for another.
ARCHIVES = (*WRITTEN, ".tar.xz", ".tar.bz2", ".zip")
PLACEHOLDER = "{version}"


@dataclass(frozen=True)
class Target:
    """Where a new version goes: a directory or an archive on the controller, and the source that names it."""

    path: Path
    is_archive: bool
    source: Mapping[str, Any] | None
    """The source of the model's wish with this version; None where the archive must be brought to it by hand."""


def target(wished: Mapping[str, Any], version: int, inventory: str, folder: str | None, output: str) -> Target:
    """Return where version ``version`` of a model goes.

    :param wished: the model's entry in the inventory; ``inventory`` is the directory that its paths start from.
    :param folder: the folder that a person has given for an archive; ``output`` that of the results.
    """
    source = wished.get("source") or {}
    name = f"{wished['name']}-{version}"
    if folder or source.get("type") != "path" or source.get("remote"):
        return Target(_absolute(folder or output) / f"{name}.tar.gz", True, None)
    uri = str(source["uri"])
    if PLACEHOLDER in uri:
        new, kept = uri.replace(PLACEHOLDER, str(version)), dict(source)
    else:
        new = os.path.join(os.path.dirname(uri.rstrip("/")), name)
        new += ".tar.gz" if _is_archive(uri) else ""
        kept = {**source, "uri": new}
    kept.pop("sha256", None)
    if new.endswith(ARCHIVES) and not new.endswith(WRITTEN):
        problem = f"is needed: {os.path.basename(new)} would be an archive of a kind that is not written here"
        raise WishError("publish_as", problem, "give the folder of a .tar.gz")
    return Target(_absolute(os.path.join(inventory, os.path.expanduser(new))), _is_archive(new), kept)


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _is_archive(uri: str) -> bool:
    return uri.endswith(ARCHIVES)


def number(wanted: int | None, known: Iterable[int], wished: Mapping[str, Any], inventory: str) -> int:
    """Return the number of the new version: the wanted one, or the next free one. Raises WishError if it exists.

    :param known: the numbers that hosts have and that wishes name.
    """
    taken = {*known, *_beside(wished, inventory)}
    if wanted is None:
        return max(taken, default=0) + 1
    if wanted in taken:
        raise WishError("version", f"{wanted} exists", f"give one that does not, such as {max(taken) + 1}")
    # The server serves the highest number, so a lower one would never be served.
    if wanted < max(taken, default=0):
        raise WishError("version", f"{wanted} is below {max(taken)}, which exists", f"give {max(taken) + 1} or more")
    return wanted


def _beside(wished: Mapping[str, Any], inventory: str) -> list[int]:
    """Return the numbers of versions that lie where the model's source is."""
    source = wished.get("source") or {}
    uri = str(source.get("uri") or "")
    if source.get("type") != "path" or source.get("remote") or PLACEHOLDER not in uri:
        return []
    path = os.path.join(inventory, os.path.expanduser(uri.rstrip("/")))
    folder, rest = path.split(PLACEHOLDER, 1)[0].rpartition("/")[0], path
    first = rest.removeprefix(folder).lstrip("/").split("/")[0]
    pattern = re.compile(re.escape(first).replace(re.escape(PLACEHOLDER), "([0-9]{1,19})"))
    try:
        return [int(found[1]) for found in map(pattern.fullmatch, os.listdir(folder)) if found]
    except OSError:
        return []


def publish(candidate: str, place: Target, found: Document) -> dict[str, Any]:
    """Put a candidate's directory in place with its manifest; return ``path``, ``sha256`` and the ``wish`` to write.

    Raises WishError if it cannot be, or exists meanwhile; then nothing is left.
    """
    require_passed(found)
    forget(place)
    try:
        place.path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place.path):
            raise _exists(place)
        return _put(candidate, place, found)
    except (OSError, RefusalError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WishError("version", f"{place.path} cannot be written ({why})", "choose another place") from error


def require_passed(found: Document) -> None:
    """Refuse to publish what has not passed, whoever asks."""
    chosen = [each for each in found["candidates"] if each["kind"] == found["chosen"]]
    if not chosen or not chosen[0]["passed"] or document.choice(found["candidates"]) is None:
        raise WishError("candidates", "none has passed the gate, so nothing is published", "look at the report")


def _exists(place: Target) -> WishError:
    return WishError("version", f"{place.path} exists", "give another version")


def _put(candidate: str, place: Target, found: Document) -> dict[str, Any]:
    staged = tempfile.mkdtemp(prefix=_prefix(place), dir=place.path.parent)
    try:
        whole = Path(staged) / "version"
        shutil.copytree(candidate, whole, symlinks=True)
        wish = wish_text(place, found, None)
        _describe(whole, {**found, "published": {"path": str(place.path), "wish": wish}})
        sha256 = archives.directory_digest(str(whole))
        if place.is_archive:
            packed = _packed(whole, Path(staged) / "packed", place.path.name.endswith(COMPRESSED))
            sha256 = file_digest(packed)
            os.chmod(packed, 0o644)
            # A link fails where a rename would replace what somebody has put there meanwhile.
            os.link(packed, place.path)
        else:
            os.chmod(whole, 0o755)
            os.rename(whole, place.path)
    except FileExistsError:
        raise _exists(place) from None
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
            raise _exists(place) from None
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return {"path": str(place.path), "sha256": sha256, "wish": wish_text(place, found, sha256)}


def _packed(version: Path, archive: Path, compressed: bool) -> str:
    """Pack a version into an archive whose bytes depend on its content alone; return its path."""
    archives.pack(str(version), str(archive))
    if not compressed:
        return str(archive)
    with (
        archive.open("rb") as plain,
        archive.with_suffix(".gz").open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream,
    ):
        shutil.copyfileobj(plain, stream)
    return str(archive.with_suffix(".gz"))


def _prefix(place: Target) -> str:
    return f".{place.path.name}.optimising-"


def forget(place: Target) -> None:
    """Remove what a killed run has left of this version."""
    try:
        left = [each for each in os.listdir(place.path.parent) if each.startswith(_prefix(place))]
    except OSError:
        return
    for each in left:
        shutil.rmtree(place.path.parent / each, ignore_errors=True)


def _describe(version: Path, found: Document) -> None:
    folder = version / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chosen = next(each for each in found["candidates"] if each["kind"] == found["chosen"])
    manifest = {
        "schema": 1,
        **{key: found[key] for key in ("model", "version", "optimised_from", "environment", "requests", "began")},
        "recipe": chosen["recipe"],
        "server_flags": chosen["flags"],
        "gate": chosen["rows"],
    }
    for name, text in (
        (MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n"),
        (REPORT, document.markdown(found)),
        (PAGE, document.page(found)),
    ):
        (folder / name).write_text(text, encoding="utf-8")


def wish_text(place: Target, found: Document, sha256: str | None) -> str:
    """Return what a person writes into the inventory to roll the version out, as YAML."""
    source: dict[str, Any] = dict(
        place.source or {"type": "http", "uri": f"https://WHERE-YOU-PUT-IT/{place.path.name}"}
    )
    if place.is_archive and sha256:
        source["sha256"] = sha256
    wish: dict[str, Any] = {
        "tfserving_models": [{"name": found["model"], "version": found["version"], "source": source}]
    }
    chosen = next(each for each in found["candidates"] if each["kind"] == found["chosen"])
    if chosen["flags"]:
        wish["tfserving_instances"] = [{"name": found["instance"], "flags": dict(chosen["flags"])}]
    # Text of an inventory carries Ansible's tags, which YAML's writer refuses.
    return yaml.safe_dump(json.loads(json.dumps(wish)), sort_keys=False)


def origin(wished: Mapping[str, Any], inventory: str) -> str:
    """Return in a sentence what a version was made from; empty where its source tells of nothing.

    :param wished: the model's entry in the inventory, whose source is looked at if it is a directory on the controller.
    """
    source, number_of = wished.get("source") or {}, wished.get("version")
    if source.get("type") != "path" or source.get("remote"):
        return ""
    uri = os.path.expanduser(str(source.get("uri") or "")).replace(PLACEHOLDER, str(number_of))
    try:
        found = plain_files.json_of(os.path.join(inventory, uri, FOLDER, MANIFEST), LARGEST_MANIFEST)
        made_from, recipe = found["optimised_from"], found["recipe"]
        digest = str(made_from["digest"])[:12]
        told_of = f"version {int(made_from['version'])} ({told(digest, 12)}) by {told(str(recipe['kind']), 40)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f"version {number_of} of {wished.get('name')} was made from {told_of}: {uri}/{FOLDER}/{REPORT}"


def told_of(model: str, variables: Mapping[str, Any]) -> str:
    """Return ``origin`` of a host's wish for a model as a line of its own; empty without one."""
    wished = [each for each in variables.get("tfserving_models") or [] if each.get("name") == model]
    found = origin(wished[0], str(variables.get("inventory_dir") or "")) if wished else ""
    return f"\n{found}" if found else ""
