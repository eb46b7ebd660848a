# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Read untrusted archives, and pack directories for transfer to a host.

Every source of a model (tar, plain or compressed, zip, or a directory) is read as one sequence of entries, so that all
rules about hostile members stand in one place. Sizes are bytes, checksums are hexadecimal SHA-256. Refusals are raised
as `RefusalError`.
"""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from ..errors import RefusalError
from .archive_entries import DamagedError, Entry, entries, listed, shown
from .digests import CHUNK, content_digest
from .space import MIB, in_mib

# The default block size of ext4 and XFS.
BLOCK = 4096

# A SavedModel has dozens of files, rarely thousands (assets). The bound keeps an archive of empty members from
# exhausting inodes or the memory for the list of members.
MAX_MEMBERS = 100_000
# Linux's limit for names (NAME_MAX), and half of its PATH_MAX; the other half is for the model root.
MAX_NAME = 255
MAX_PATH = 2048
# Nested directories: exports have two or three levels. Python's own walks and the servers' recurse.
MAX_DEPTH = 64
# Weights do not compress well. Larger contents are compared with the size of their archive: gzip reaches 1:1000, xz and
# bzip2 far more, and reading through that takes hours before anything is written.
MAX_UNCOMPARED = 10 * 1024 * MIB
MAX_RATIO = 200
MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
# Other formats that a server can load, and why a version of one is refused.
OTHER_MODELS = {
    "saved_model.cpb": (
        "it is a saved_model.cpb, a graph of over 2 GB in pieces, which cannot be checked before a server loads it",
        "keep the weights in variables, so that the graph fits into saved_model.pb",
    ),
    "model.tflite": (
        "it is a TensorFlow Lite model, which this collection does not publish",
        "give the SavedModel that it was converted from",
    ),
}
INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-([0-9]{5})-of-([0-9]{5})")

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,  # malformed numbers in headers
    ArithmeticError,
    RuntimeError,  # with NotImplementedError (unknown compression) and RecursionError (chained headers)
)


@dataclass
class Survey:
    """The contents of a source: sizes of files by relative path, and every directory that exists or must be made."""

    files: dict[str, int] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(self.files.values())

    @property
    def footprint(self) -> int:
        """Return the bytes it takes on disk: every file and directory fills whole blocks."""
        blocks = sum(-(-size // BLOCK) for size in self.files.values()) + len(self.directories)
        return blocks * BLOCK

    def below(self, prefix: str) -> Survey:
        """Return the part under ``prefix`` (empty, or ending in a slash), with paths relative to it."""
        cut = len(prefix)
        return Survey(
            {path[cut:]: size for path, size in self.files.items() if path.startswith(prefix)},
            {path[cut:] for path in self.directories if path.startswith(prefix)},
        )


def survey(source: str, room: int | None = None) -> Survey:
    """List the contents of ``source`` (archive or directory) without writing anything.

    Raises RefusalError for hostile or damaged sources, and as soon as the declared sizes exceed ``room``.
    """
    found = Survey()
    total = 0
    packed = None if os.path.isdir(source) else os.path.getsize(source)
    for path, entry in _checked(source):
        _add(found, path, entry)
        total += entry.size if entry.kind == "file" else 0
        if room is not None and total > room:
            problem = f"it unpacks to {in_mib(total)} or more and {in_mib(room)} may be used"
            raise RefusalError(problem, "free space there, or check what was packed")
        if packed is not None and total > max(MAX_UNCOMPARED, MAX_RATIO * packed):
            problem = f"it unpacks to {in_mib(total)} or more out of {in_mib(packed)}, as no model does"
            raise RefusalError(problem, "check what was packed, or pack it without compression")
    return found


def stamps(source: str) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of a source's files, which tell whether it has changed."""
    paths = [path for path, _entry in _checked(source)] if os.path.isdir(source) else [""]
    found = [(path, os.lstat(os.path.join(source, path) if path else source)) for path in sorted(paths)]
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def model_root(found: Survey) -> str:
    """Return the prefix of the one SavedModel: empty, or a path ending in a slash."""
    places = {path.rpartition("/")[0] for path in found.files if path.rpartition("/")[2] in MODEL_FILES}
    if not places:
        raise RefusalError(*_instead(found) or ("it holds no saved_model.pb", "give what tf.saved_model.save wrote"))
    if len(places) > 1:
        named = listed([place or "its top" for place in sorted(places)])
        raise RefusalError(f"saved_model.pb is in several places: {named}", "pack one version alone")
    (place,) = places
    return f"{place}/" if place else ""


def _instead(found: Survey) -> tuple[str, str] | None:
    """Return what is wrong with a source that holds another kind of model."""
    names = {path.rpartition("/")[2] for path in found.files}
    return next((words for name, words in OTHER_MODELS.items() if name in names), None)


def check_saved_model(found: Survey) -> None:
    """Refuse what cannot be a whole SavedModel, by names and sizes alone; model_check looks into the files.

    A frozen graph has no ``variables``, and archives and object stores lose empty directories. If any part of a
    checkpoint is there, its index and every data shard must be too.
    """
    written = [path for path in MODEL_FILES if path in found.files]
    if "saved_model.cpb" in found.files or not written:
        raise RefusalError(*_instead(found) or ("it has no saved_model.pb", "give what tf.saved_model.save wrote"))
    if not found.files[written[0]]:  # the server reads the first one present
        raise RefusalError(f"its {written[0]} is empty", "export the model again")
    shards = {(int(match[1]), int(match[2])) for match in map(_SHARD.fullmatch, found.files) if match}
    if not shards and INDEX not in found.files:
        return
    if not found.files.get(INDEX):
        raise RefusalError(f"{INDEX} is missing or empty", "export the model again")
    missing = _missing_shard(shards)
    if missing:
        raise RefusalError(f"it lacks {missing}", "export or pack the model again")


def _missing_shard(shards: set[tuple[int, int]]) -> str:
    """Return the first missing file of the largest set of shards; empty if any set is complete."""
    lacking = ""
    for count in sorted({count for _shard, count in shards}) or [1]:
        missing = [shard for shard in range(max(count, 1)) if (shard, count) not in shards]
        if not missing:
            return ""
        lacking = f"variables/variables.data-{missing[0]:05d}-of-{count:05d}"
    return lacking


def unpack(source: str, prefix: str, target: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Write everything under ``prefix`` into the existing, empty directory ``target``.

    ``sizes`` are those that the survey declared: not a byte more is written, whatever the archive holds. Modes and
    owners of the source are ignored. Returns the SHA-256 of each file by its path.
    """
    digests = {}
    for path, entry in _checked(source):
        inner = path.removeprefix(prefix) if path.startswith(prefix) else ""
        if not inner:
            continue
        place = os.path.join(target, inner)
        if entry.kind == "directory":
            os.makedirs(place, mode=0o700, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        digests[inner] = _write(entry, place, sizes.get(inner, -1))
    return digests


def extract(source: str, names: Mapping[str, str], target: str, sizes: Mapping[str, int]) -> None:
    """Write single members into the directory ``target``; ``names`` maps their paths to file names there."""
    for path, entry in _checked(source):
        if path in names and entry.kind == "file":
            place = os.path.join(target, names[path])
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            _write(entry, place, sizes.get(path, -1))


def pack(directory: str, target: str) -> str:
    """Pack ``directory`` as a tar that depends only on names and contents; return its tree digest."""
    digests = {}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in _checked(directory):
            info = tarfile.TarInfo(path)
            if entry.kind == "directory":
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
                continue
            info.size = entry.size
            with entry.open() as content:
                hashing = _Hashing(content)
                tar.addfile(info, hashing)
            digests[path] = hashing.digest.hexdigest()
    return tree_digest(digests)


def tree_digest(digests: Mapping[str, str]) -> str:
    """Return the SHA-256 of the lines ``sha256  relative path``, sorted by the bytes of the path.

    The shell computes the same digest inside the directory with
    ``find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum``
    """
    listing = hashlib.sha256()
    for path in sorted(digests, key=os.fsencode):
        listing.update(f"{digests[path]}  ".encode() + os.fsencode(path) + b"\n")
    return listing.hexdigest()


def directory_digest(directory: str) -> str:
    """Return the tree digest of a directory on disk."""
    digests = {}
    for path, entry in _checked(directory):
        if entry.kind == "file":
            with entry.open() as content:
                digests[path] = content_digest(content)
    return tree_digest(digests)


def digests_below(source: str, prefix: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return the SHA-256 of each file under ``prefix`` by its path there, as ``unpack`` would write it.

    ``sizes`` are those that the survey declared, and nothing is read beyond them.
    """
    digests = {}
    for path, entry in _checked(source):
        inner = path.removeprefix(prefix) if path.startswith(prefix) else ""
        if inner and entry.kind == "file":
            digests[inner] = _digest(entry, sizes.get(inner, -1))
    return digests


# --- rules -------------------------------------------------------------------------------------------------


def _checked(source: str) -> Iterator[tuple[str, Entry]]:
    """Yield (safe relative path, entry) for all files and directories of a source, or refuse the source."""
    with _readable(), closing(entries(source)) as members:
        for count, entry in enumerate(members, 1):
            if count > MAX_MEMBERS:
                raise RefusalError(f"it holds more than {MAX_MEMBERS} members", "pack the SavedModel alone")
            path = safe_path(entry.name)
            if entry.kind not in ("file", "directory"):
                raise RefusalError(f"it holds a {entry.kind}, {shown(entry.name)}", _cure(entry.kind))
            if entry.size < 0 or (not path and entry.kind == "file"):
                raise DamagedError(f"impossible member {shown(entry.name)}")
            if path:
                yield path, entry


def _cure(kind: str) -> str:
    if kind.endswith("link"):
        return "a version stands alone; pack it with tar --dereference --hard-dereference, or copy it with cp -rL"
    return "a SavedModel has files and directories only"


def safe_path(name: str) -> str:
    """Return a member's name as a plain relative path; empty for the top directory."""
    if name.startswith("/"):
        raise RefusalError(f"it holds the absolute name {shown(name)}", "pack with names relative to the model")
    # Backslashes and control characters would make the listing behind the tree digest ambiguous.
    if any(ord(letter) < 32 or letter in "\\\x7f" for letter in name):
        raise RefusalError(f"it holds the odd name {shown(name)}", "use neither control characters nor backslashes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusalError(f"the name {shown(name)} leads out of it", "pack with names relative to the model")
    if len(parts) > MAX_DEPTH:
        raise RefusalError(f"it has more than {MAX_DEPTH} directories within each other", "pack the SavedModel alone")
    path = "/".join(parts)
    if len(os.fsencode(path)) > MAX_PATH or any(len(os.fsencode(part)) > MAX_NAME for part in parts):
        raise RefusalError(f"it holds a name that is too long, {shown(name)}", "use shorter names")
    return path


def _add(found: Survey, path: str, entry: Entry) -> None:
    """Add one member; refuse names that occur twice or as both file and directory."""
    parents = [path[:at] for at, letter in enumerate(path) if letter == "/"]
    directories = [*parents, path] if entry.kind == "directory" else parents
    doubled = [path] if entry.kind == "file" and (path in found.files or path in found.directories) else []
    doubled += [name for name in directories if name in found.files]
    if doubled:
        raise RefusalError(f"it holds {shown(doubled[0])} twice", "pack it again instead of appending")
    found.directories.update(directories)
    if len(found.directories) > MAX_MEMBERS:
        raise RefusalError(f"it holds more than {MAX_MEMBERS} directories", "pack the SavedModel alone")
    if entry.kind == "file":
        found.files[path] = entry.size


def _digest(entry: Entry, size: int) -> str:
    digest, read = hashlib.sha256(), 0
    with _readable(), entry.open() as content:
        while read <= size and (chunk := content.read(CHUNK)):
            read += len(chunk)
            digest.update(chunk)
    if read != size:
        raise DamagedError(f"{shown(entry.name)} is not as long as it declares")
    return digest.hexdigest()


def _write(entry: Entry, place: str, size: int) -> str:
    digest = hashlib.sha256()
    written = 0
    # O_EXCL: no existing file or link is followed or overwritten.
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file, _readable(), entry.open() as content:
        for chunk in iter(partial(content.read, CHUNK), b""):
            written += len(chunk)
            if written > size:
                break
            digest.update(chunk)
            file.write(chunk)
    if written != size:
        raise DamagedError(f"{shown(entry.name)} is not as long as it declares")
    return digest.hexdigest()


@contextmanager
def _readable() -> Iterator[None]:
    """Convert the decoders' exceptions on bad data to DamagedError; errors of the disk pass."""
    try:
        yield
    except _DAMAGE as error:
        raise DamagedError(error or type(error).__name__) from error
    except OSError as error:
        # gzip and bz2 report bad data this way; the other two come from an offset beyond any file.
        if error.errno in (None, errno.EINVAL, errno.EOVERFLOW):
            raise DamagedError(error) from error
        raise


class _Hashing:
    """A reader that hashes (SHA-256) what passes through it."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self.content.read(size)
        self.digest.update(chunk)
        return chunk
