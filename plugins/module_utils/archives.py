# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading archives that nobody vouches for, and packing directories for the way to a host.

Everything that can hold a model (tar, plain or compressed, zip, or a directory) is read as one sequence of
entries, so that every rule about hostile members stands in one place. Sizes are bytes, checksums are
hexadecimal SHA-256. What is refused is raised as `RefusalError`.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Callable, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible as shown

CHUNK = 1024 * 1024
MIB = 1024 * 1024
# The block of ext4 and XFS as they are made by default.
BLOCK = 4096

# A SavedModel has some dozens of files, rarely some thousands (assets). The bound keeps an archive of empty
# members from eating all inodes or the memory that the list of members needs.
MAX_MEMBERS = 100_000
# tarfile reads extended headers (long names, PAX records) into memory at the length they declare.
MAX_TAR_HEADER = MIB
# Tar pads its end with zeros up to a record of 10 KiB, and some tools up to a larger block.
MAX_TAR_PADDING = MIB

MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
# Other things that a server can load, and why a version of one is refused.
OTHER_MODELS = {
    "saved_model.cpb": (
        "it is a saved_model.cpb, a graph of more than 2 GB in pieces, which nobody can check before a server loads it",
        "keep the weights in variables, so that the graph fits into saved_model.pb",
    ),
    "model.tflite": (
        "it is a TensorFlow Lite model, which this collection does not publish",
        "give the SavedModel that it was converted from",
    ),
}
INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-([0-9]{5})-of-([0-9]{5})")

_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
_TAR_MAGIC_AT = 257
_TAR_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,  # figures in headers that are none
    ArithmeticError,
    RuntimeError,  # with NotImplementedError (unknown compression) and RecursionError (chained headers)
)


class RefusalError(Exception):
    """What stands in the way of a version, and the remedy; `key` is the part of the wish it concerns."""

    def __init__(self, problem: str, remedy: str, key: str = "source") -> None:
        super().__init__(problem, remedy, key)
        self.problem = problem
        self.remedy = remedy
        self.key = key

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


class DamagedError(RefusalError):
    """An archive that cannot be read to its end."""

    def __init__(self, detail: object) -> None:
        super().__init__(f"the archive is damaged ({detail})", "pack or fetch it again")


class Entry(NamedTuple):
    """One member: its name as written, `file`, `directory` or the kind that is refused, and its content."""

    name: str
    kind: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass
class Survey:
    """What a source holds: sizes of files by relative path, and every directory there is or must be made."""

    files: dict[str, int] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(self.files.values())

    @property
    def footprint(self) -> int:
        """The bytes it takes on disk: every file and directory fills whole blocks."""
        blocks = sum(-(-size // BLOCK) for size in self.files.values()) + len(self.directories)
        return blocks * BLOCK

    def below(self, prefix: str) -> Survey:
        """Return the part under ``prefix`` (empty, or ending in a slash) with paths relative to it."""
        cut = len(prefix)
        return Survey(
            {path[cut:]: size for path, size in self.files.items() if path.startswith(prefix)},
            {path[cut:] for path in self.directories if path.startswith(prefix)},
        )


def survey(source: str, room: int | None = None) -> Survey:
    """List what ``source`` (archive or directory) holds without writing anything.

    Raises RefusalError for hostile or damaged sources, and as soon as the declared sizes exceed ``room``.
    """
    found = Survey()
    total = 0
    for path, entry in _checked(source):
        _add(found, path, entry)
        total += entry.size if entry.kind == "file" else 0
        if room is not None and total > room:
            problem = f"it unpacks to {in_mib(total)} or more and {in_mib(room)} may be used"
            raise RefusalError(problem, "free space there, or check what was packed")
    return found


def model_root(found: Survey) -> str:
    """Return the prefix under which the one SavedModel lies: empty, or a path ending in a slash."""
    places = {path.rpartition("/")[0] for path in found.files if path.rpartition("/")[2] in MODEL_FILES}
    if not places:
        raise RefusalError(*_instead(found) or ("it holds no saved_model.pb", "give what tf.saved_model.save wrote"))
    if len(places) > 1:
        named = ", ".join(sorted(shown(place) or "its top" for place in places))
        raise RefusalError(f"saved_model.pb is in several places: {named}", "pack one version alone")
    (place,) = places
    return f"{place}/" if place else ""


def _instead(found: Survey) -> tuple[str, str] | None:
    """Return what is wrong with a source that holds another kind of model."""
    names = {path.rpartition("/")[2] for path in found.files}
    return next((words for name, words in OTHER_MODELS.items() if name in names), None)


def check_saved_model(found: Survey) -> None:
    """Refuse what cannot be a whole SavedModel, by names and sizes alone; model_check looks into the files.

    A frozen graph has no ``variables``, and archives and object stores lose an empty directory. Where there is
    anything of a checkpoint, the index and every shard of the data must be there.
    """
    written = [path for path in MODEL_FILES if path in found.files]
    if "saved_model.cpb" in found.files or not written:
        raise RefusalError(*_instead(found) or ("it has no saved_model.pb", "give what tf.saved_model.save wrote"))
    if not found.files[written[0]]:  # the server reads the first that is there
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
    """Return the first file that no complete set of shards has; of several sets, one must be whole."""
    lacking = ""
    for count in sorted({count for _shard, count in shards}) or [1]:
        missing = [shard for shard in range(max(count, 1)) if (shard, count) not in shards]
        if not missing:
            return ""
        lacking = f"variables/variables.data-{missing[0]:05d}-of-{count:05d}"
    return lacking


def unpack(source: str, prefix: str, target: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Write everything under ``prefix`` into the existing, empty directory ``target``.

    ``sizes`` is what the survey declared: not a byte more is written, whatever the archive holds. Modes and
    owners of the source are not taken over. Returns the SHA-256 of each file by its path.
    """
    digests = {}
    for path, entry in _checked(source):
        inner = path[len(prefix) :] if path.startswith(prefix) else ""
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
    """Write single members into the directory ``target``; ``names`` maps their paths to names there."""
    for path, entry in _checked(source):
        if path in names and entry.kind == "file":
            place = os.path.join(target, names[path])
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            _write(entry, place, sizes.get(path, -1))


def pack(directory: str, target: str) -> str:
    """Pack ``directory`` as a tar that depends on names and contents alone; return its tree digest."""
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

    The same figure comes from the shell, inside the directory:
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
                digests[path] = _sha256(content)
    return tree_digest(digests)


def free_bytes(path: str) -> int:
    """Return the bytes that unprivileged writers may still use where ``path`` is, or would be."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def file_digest(path: str) -> str:
    """Return the SHA-256 of one file."""
    with open(path, "rb") as content:
        return _sha256(content)


def compare(wished: str, found: str) -> None:
    """Refuse a source whose checksum is not the wished one."""
    if wished != found:
        raise RefusalError(
            f"its checksum is {found}, not the wished {wished}",
            "look at what changed the source, or correct the wish",
            "source.sha256",
        )


def in_mib(size: int) -> str:
    """Return a size for people, in MiB, rounded up so that nothing small becomes nothing."""
    return f"{-(-size // MIB)} MiB"


# --- rules -------------------------------------------------------------------------------------------------


def _checked(source: str) -> Iterator[tuple[str, Entry]]:
    """Yield (safe relative path, entry) for all files and directories of a source, or refuse it."""
    with _readable(), closing(_entries(source)) as entries:
        for count, entry in enumerate(entries, 1):
            if count > MAX_MEMBERS:
                raise RefusalError(f"it holds more than {MAX_MEMBERS} members", "pack the SavedModel alone")
            path = _safe_path(entry.name)
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


def _safe_path(name: str) -> str:
    """Return a member's name as a plain relative path; empty for the top itself."""
    if name.startswith("/"):
        raise RefusalError(f"it holds the absolute name {shown(name)}", "pack with names relative to the model")
    # Backslashes and control characters would make the listing behind the tree digest ambiguous.
    if any(ord(letter) < 32 or letter in "\\\x7f" for letter in name):
        raise RefusalError(f"it holds the odd name {shown(name)}", "use neither control characters nor backslashes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusalError(f"the name {shown(name)} leads out of it", "pack with names relative to the model")
    return "/".join(parts)


def _add(found: Survey, path: str, entry: Entry) -> None:
    """Enter one member, refusing names that stand twice or are a file and a directory at once."""
    parents = [path[:at] for at, letter in enumerate(path) if letter == "/"]
    directories = [*parents, path] if entry.kind == "directory" else parents
    doubled = [path] if entry.kind == "file" and (path in found.files or path in found.directories) else []
    doubled += [name for name in directories if name in found.files]
    if doubled:
        raise RefusalError(f"it holds {shown(doubled[0])} twice", "pack it afresh instead of appending")
    found.directories.update(directories)
    if entry.kind == "file":
        found.files[path] = entry.size


def _write(entry: Entry, place: str, size: int) -> str:
    digest = hashlib.sha256()
    written = 0
    # O_EXCL: nothing that stands there is followed or written over.
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
    """Turn what the decoders raise on bad data into DamagedError; errors of the disk pass."""
    try:
        yield
    except _DAMAGE as error:
        raise DamagedError(error or type(error).__name__) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report bad data so
            raise DamagedError(error) from error
        raise


# --- formats -----------------------------------------------------------------------------------------------


def _entries(source: str) -> Iterator[Entry]:
    if os.path.isdir(source):
        return _directory_entries(source)
    kind = _identify(source)
    return _zip_entries(source) if kind == "zip" else _tar_entries(source, kind)


def _identify(path: str) -> str:
    """Return the format by content, never by name: `zip`, or tar's compression (empty: none)."""
    with open(path, "rb") as file:
        head = file.read(_TAR_MAGIC_AT + 5)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[_TAR_MAGIC_AT:] == b"ustar":
        return ""
    raise RefusalError("it is neither a tar (plain, gz, bz2, xz) nor a zip", "pack it as one of these")


class _StrictTarInfo(tarfile.TarInfo):
    """Reports damage in the middle of a tar, which tarfile itself takes for the end of it."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> _StrictTarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _TAR_HEADERS and info.size > MAX_TAR_HEADER):
            raise DamagedError("impossible header")
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictTarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise DamagedError(error) from error


def _tar_entries(path: str, compression: str) -> Iterator[Entry]:
    with tarfile.open(path, f"r:{compression}", tarinfo=_StrictTarInfo) as tar:
        for info in tar:
            yield Entry(info.name, _tar_kind(info), info.size, partial(tar.extractfile, info))
        # The compressor's own checksum is compared at the end of its data only.
        if len(tar.fileobj.read(MAX_TAR_PADDING + 1)) > MAX_TAR_PADDING:
            raise DamagedError("data after the end of the tar")


def _tar_kind(info: tarfile.TarInfo) -> str:
    kinds = {tarfile.SYMTYPE: "symbolic link", tarfile.LNKTYPE: "hard link", tarfile.DIRTYPE: "directory"}
    return "file" if info.isfile() else kinds.get(info.type, "device, pipe or other special file")


def _zip_entries(path: str) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 0x1:
                raise RefusalError(f"its member {shown(info.filename)} is encrypted", "pack it without a password")
            yield Entry(info.filename, _zip_kind(info), info.file_size, partial(archive.open, info))


def _zip_kind(info: zipfile.ZipInfo) -> str:
    unix_type = stat.S_IFMT(info.external_attr >> 16)  # 0 where a system without such modes packed
    if unix_type == stat.S_IFLNK:
        return "symbolic link"
    if unix_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device, pipe or other special file"
    return "directory" if info.is_dir() else "file"


def _directory_entries(top: str) -> Iterator[Entry]:
    # Everything is reached through open directories, so that nothing swapped for a link meanwhile leads elsewhere.
    real = os.path.realpath(top)
    for folder, directories, files, handle in os.fwalk(real, onerror=_raise):
        directories.sort()
        for name in sorted([*directories, *files]):
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            path = os.path.relpath(os.path.join(folder, name), real)
            yield Entry(path, _stat_kind(found.st_mode), size, partial(_open_file, name, handle))


def _raise(error: OSError) -> None:
    raise error


def _stat_kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if stat.S_ISREG(mode):
        return "file"
    return "directory" if stat.S_ISDIR(mode) else "device, pipe or other special file"


def _open_file(name: str, directory: int) -> BinaryIO:
    return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory), "rb")


class _Hashing:
    """A reader that keeps the SHA-256 of what passed through it."""

    def __init__(self, content: BinaryIO) -> None:
        self.content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self.content.read(size)
        self.digest.update(chunk)
        return chunk


def _sha256(content: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in iter(partial(content.read, CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()
