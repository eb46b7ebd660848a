# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Archives and directories as one sequence of entries, each format read without trusting it.

What a model may contain is decided in `archives`; this module makes sure that reading itself never blocks and uses
bounded memory and time. Sizes are bytes.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Generator, Iterator
from functools import partial
from typing import IO, Any, BinaryIO, Callable, Literal, NamedTuple, cast

from ..errors import RefusalError
from ..visible_text import told
from .digests import opened
from .space import MIB, in_mib

# A zip's directory and a tar's extended headers are held in memory: enough for MAX_MEMBERS of usual names.
MAX_NAMES = 16 * MIB
# tarfile reads extended headers (long names, PAX records) into memory at the length they declare.
MAX_TAR_HEADER = MIB
# Limit of the dictionary that a decompressor keeps in memory. `xz -9` asks for 64 MiB, xz itself allows 4 GiB.
MAX_DICTIONARY = 256 * MIB
# A name may take a MiB (see above), and an archive may hold a hundred thousand of them.
MOST_SHOWN_LETTERS = 255
MOST_SHOWN_NAMES = 5
# Tar pads its end with zeros to a record of 10 KiB, some tools to a larger block.
MAX_TAR_PADDING = MIB

_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
_TAR_MAGIC_AT = 257
_TAR_MODES: dict[str, Literal["r:", "r:gz", "r:bz2"]] = {"": "r:", "gz": "r:gz", "bz2": "r:bz2"}
_TAR_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class DamagedError(RefusalError):
    """An archive that cannot be read to its end."""

    def __init__(self, detail: object) -> None:
        super().__init__(f"the archive is damaged ({detail})", "pack or fetch it again")


class Entry(NamedTuple):
    """One member: its name as written, `file`, `directory` or the refused kind, its size and its content."""

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


def shown(name: str) -> str:
    """Return a name for use in a message: printable and not too long."""
    return told(name, MOST_SHOWN_LETTERS)


def listed(names: list[str]) -> str:
    """Return names for a message; of many, only the first."""
    more = [f"{len(names) - MOST_SHOWN_NAMES} more"] if len(names) > MOST_SHOWN_NAMES else []
    return ", ".join([*map(shown, names[:MOST_SHOWN_NAMES]), *more])


def entries(source: str) -> Generator[Entry, None, None]:
    """Yield the members of an archive or the entries of a directory, in stored order."""
    if os.path.isdir(source):
        return _directory_entries(source)
    kind = _identify(source)
    return _zip_entries(source) if kind == "zip" else _tar_entries(source, kind)


def _identify(path: str) -> str:
    """Return the format, told by content and never by name: `zip`, or tar's compression (empty: none)."""
    with opened(path) as file:
        head = file.read(_TAR_MAGIC_AT + 5) or b""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[_TAR_MAGIC_AT:] == b"ustar":
        return ""
    raise RefusalError("it is neither a tar (plain, gz, bz2, xz) nor a zip", "pack it as one of these")


class _StrictTarInfo(tarfile.TarInfo):
    """Counts headers, and reports damage in the middle of a tar, which tarfile itself takes for the end."""

    headers = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictTarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _TAR_HEADERS and info.size > MAX_TAR_HEADER):
            raise DamagedError("impossible header")
        if info.type in _TAR_HEADERS:
            cls.headers += info.size
            if cls.headers > MAX_NAMES:
                raise RefusalError(
                    f"its names and notes take more than {in_mib(MAX_NAMES)}", "pack the SavedModel alone"
                )
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse()
        return info

    # The library names the argument after its own module.
    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictTarInfo:  # pylint: disable=arguments-renamed
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # not in typeshed
            raise
        except tarfile.HeaderError as error:
            raise DamagedError(error) from error

    def _refuse_sparse(self, *_arguments: Any) -> None:
        # The map of holes may be as long as the archive and would be read into memory, and a few characters can declare
        # holes of many GB.
        raise _sparse()

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _sparse() -> RefusalError:
    return RefusalError("it holds a sparse file", "pack it without --sparse")


def _tar_entries(path: str, compression: str) -> Generator[Entry, None, None]:
    counting = type("CountingTarInfo", (_StrictTarInfo,), {})
    with opened(path) as file, _tar_of(file, compression, counting) as tar:
        for info in tar:
            # No longer needed, and they would stay in memory with all their headers.
            tar.members = []  # type: ignore[attr-defined]  # not in typeshed
            yield Entry(info.name, _tar_kind(info), info.size, partial(_extracted, tar, info))
        # The decompressor compares its own checksum only at the end of the data.
        if len(tar.fileobj.read(MAX_TAR_PADDING + 1)) > MAX_TAR_PADDING:
            raise DamagedError("data after the end of the tar")


def _extracted(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    # None for members without content, which nobody opens.
    return cast("IO[bytes]", tar.extractfile(info))


def _tar_of(file: BinaryIO, compression: str, tarinfo: type[tarfile.TarInfo]) -> tarfile.TarFile:
    if compression == "xz":
        return tarfile.open(fileobj=io.BufferedReader(_Xz(file), MIB), mode="r:", tarinfo=tarinfo)
    return tarfile.open(fileobj=file, mode=_TAR_MODES[compression], tarinfo=tarinfo)


class _Xz(io.RawIOBase):
    """The unpacked content of an xz file, read forward. lzma.LZMAFile takes as much memory as the file asks for."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._decoder: lzma.LZMADecompressor | None = self._new()
        self._packed = b""
        self._at = 0

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        offset += self._at if whence == os.SEEK_CUR else 0
        if whence == os.SEEK_END or offset < self._at:
            raise io.UnsupportedOperation("only forward")
        while self._at < offset and self.read(min(offset - self._at, MIB)):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        content = b""
        while not content and self._decoder:
            content = self._more(self._decoder, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _more(self, decoder: lzma.LZMADecompressor, most: int) -> bytes:
        """Return some of the following content; empty where a stream has ended."""
        if decoder.eof:
            self._begin(decoder.unused_data)
            return b""
        if decoder.needs_input and not self._packed:
            self._packed = self._file.read(MIB)
            if not self._packed:
                raise EOFError("it ends before its end")
        packed, self._packed = self._packed, b""
        try:
            return decoder.decompress(packed, most)
        except lzma.LZMAError as error:
            if "Memory usage limit" not in str(error):
                raise
            raise _large_dictionary() from error

    def _begin(self, packed: bytes) -> None:
        """Continue with the next stream; zeros may stand between two streams."""
        packed = packed.lstrip(b"\0")
        while not packed:
            packed = self._file.read(MIB)
            if not packed:
                self._decoder = None
                return
            packed = packed.lstrip(b"\0")
        self._packed, self._decoder = packed, self._new()


def _large_dictionary() -> RefusalError:
    problem = f"it is packed so that unpacking takes more than {in_mib(MAX_DICTIONARY)} of memory"
    return RefusalError(problem, "pack it as `xz -9` or less does")


def _tar_kind(info: tarfile.TarInfo) -> str:
    kinds = {tarfile.SYMTYPE: "symbolic link", tarfile.LNKTYPE: "hard link", tarfile.DIRTYPE: "directory"}
    return "file" if info.isfile() else kinds.get(info.type, "device, pipe or other special file")


def _zip_entries(path: str) -> Generator[Entry, None, None]:
    with opened(path) as file:
        _refuse_endless_directory(file)
        yield from _zip_members(file)


def _refuse_endless_directory(file: BinaryIO) -> None:
    """Refuse a zip whose directory is larger than any model's: zipfile reads it into memory as a whole."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # zipfile's own, not in typeshed
    if end and end[zipfile._ECD_SIZE] > MAX_NAMES:  # type: ignore[attr-defined]  # as above
        raise RefusalError(f"its directory takes more than {in_mib(MAX_NAMES)}", "pack the SavedModel alone")


def _zip_members(file: BinaryIO) -> Iterator[Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.flag_bits & 0x1:
                raise RefusalError(f"its member {shown(info.filename)} is encrypted", "pack it without a password")
            _refuse_large_dictionary(file, info)
            yield Entry(info.filename, _zip_kind(info), info.file_size, partial(archive.open, info))


def _refuse_large_dictionary(file: BinaryIO, info: zipfile.ZipInfo) -> None:
    """Refuse a member whose LZMA header asks for more memory than allowed: zipfile would allocate it."""
    if info.compress_type == zipfile.ZIP_LZMA:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, os.SEEK_CUR)
        # Two bytes of version, two of length, one of properties, then the size of the dictionary.
        if struct.unpack("<5xI", file.read(9))[0] > MAX_DICTIONARY:
            raise _large_dictionary()


def _zip_kind(info: zipfile.ZipInfo) -> str:
    unix_type = stat.S_IFMT(info.external_attr >> 16)  # 0 if packed on a system without Unix modes
    if unix_type == stat.S_IFLNK:
        return "symbolic link"
    if unix_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "device, pipe or other special file"
    return "directory" if info.is_dir() else "file"


def _directory_entries(top: str) -> Generator[Entry, None, None]:
    # Everything is reached through open directory handles, so that a path swapped for a link leads nowhere else.
    # A path that is no link itself stays as it is: one through an open handle may lead where no other path does.
    real = os.path.realpath(top) if os.path.islink(top) else top
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
    return opened(name, directory, os.O_NOFOLLOW)
