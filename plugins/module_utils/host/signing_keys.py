# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenPGP keys that sign package archives: reading key files, checking the pinned key, and its expiry."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from ..errors import WishError

# Keys are a few KiB; nothing larger is a key file, whatever a web server sends.
MOST_BYTES = 1 << 20
DAY_S = 86400

_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*[ \t]*\r?\n(.*?)"
    rb"-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


class Run(Protocol):
    """Runs a program with bytes on its standard input."""

    def __call__(self, arguments: list[str], data: bytes) -> tuple[int, str, str]:
        """Return (exit status, standard output, standard error)."""


@dataclass(frozen=True)
class Key:
    """A primary key. ``created`` and ``expires`` are seconds since the epoch; ``expires`` is None for never."""

    fingerprint: str
    user_ids: tuple[str, ...]
    created: int
    expires: int | None
    revoked: bool

    def days_left(self, now: float) -> int | None:
        """Return whole days until expiry, negative once expired; None for never."""
        return None if self.expires is None else int((self.expires - now) // DAY_S)

    def expired(self, now: float) -> bool:
        """Return whether a signature made today would be refused because the key has expired."""
        return self.expires is not None and self.expires <= now

    @property
    def description(self) -> str:
        """Return the key in a few lines, for people who compare before and after."""
        names = "".join(f"uid          {name}\n" for name in self.user_ids)
        return f"fingerprint  {self.fingerprint}\n{names}expires      {date(self.expires) or 'never'}\n"


def date(seconds: int | None) -> str:
    """Return the date of a moment (UTC, ISO 8601), or an empty text for None."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d")


def normalised(fingerprint: str) -> str:
    """Return a fingerprint as 40 upper-case hexadecimal digits. Raises WishError if it is not one."""
    text = re.sub(r"\s", "", fingerprint).upper().removeprefix("0X")
    if not re.fullmatch(r"[0-9A-F]{40}", text):
        raise WishError(
            "fingerprint",
            f"{fingerprint!r} is not a fingerprint",
            "give all 40 hexadecimal digits; the short forms of a key can be forged",
        )
    return text


def dearmoured(data: bytes) -> bytes:
    """Return the binary form of a key file; binary data is returned unchanged. Raises ValueError.

    Several armoured blocks in one file are joined, as apt does with a file that ends in ``.asc``.
    """
    if b"-----BEGIN PGP " not in data:
        return data
    blocks = _ARMOUR.findall(data)
    if not blocks:
        raise ValueError("is armoured but holds no complete public key block")
    return b"".join(_unwrapped(block) for block in blocks)


def _unwrapped(block: bytes) -> bytes:
    # The last line may be a checksum ("=abcd"). It is optional (RFC 9580, 6.1) and only guards against transmission
    # errors; the fingerprint proves more.
    lines = [line.strip() for line in block.split(b"\n")]
    try:
        return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise ValueError("has a damaged armour") from error


def armoured(data: bytes) -> bytes:
    """Return the armoured form of a binary key file."""
    text = base64.b64encode(data)
    # GnuPG 2.2 cannot read a block whose last line neither is padded nor has the optional checksum behind it.
    lines = [*(text[start:][:64] for start in range(0, len(text), 64)), b"=" + base64.b64encode(_checksum(data))]
    begin, end = (b"-----%s PGP PUBLIC KEY BLOCK-----" % word for word in (b"BEGIN", b"END"))
    return b"\n".join([begin, b"", *lines, end, b""])


def _checksum(data: bytes) -> bytes:
    """Return the three bytes that guard an armoured block (RFC 9580, 6.1.1: CRC-24)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc.to_bytes(3, "big")


def keys_in(data: bytes, run: Run) -> list[Key]:
    """Return the primary keys of a binary key file, using gpg with a temporary home. Raises ValueError, OSError."""
    with _temporary_home() as home:
        arguments = ["gpg", "--homedir", home, "--batch", "--no-tty", "--no-options"]
        status, out, err = run([*arguments, "--with-colons", "--show-keys"], data)
    keys = parsed(out)
    if status != 0 and not keys:
        raise ValueError(f"holds no OpenPGP key ({_last_line(err)}); it begins with {data[:24]!r}")
    return keys


@contextmanager
def _temporary_home() -> Iterator[str]:
    home = tempfile.mkdtemp(prefix="tfserving-fleet-gpg-")
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "gpg found nothing"


def parsed(listing: str) -> list[Key]:
    """Return the keys of a ``gpg --with-colons`` listing (GnuPG, doc/DETAILS)."""
    records = [line.split(":") for line in listing.splitlines()]
    starts = [index for index, record in enumerate(records) if record[0] == "pub"]
    return [_key(records[start:end]) for start, end in zip(starts, [*starts[1:], len(records)])]


def _key(records: Sequence[list[str]]) -> Key:
    primary = records[0]
    return Key(
        fingerprint=next(record[9] for record in records if record[0] == "fpr"),
        user_ids=tuple(_unescaped(record[9]) for record in records if record[0] == "uid"),
        created=int(primary[5]),
        expires=_signs_until(primary, [record for record in records if record[0] == "sub"]),
        revoked=primary[1] == "r",
    )


def _unescaped(text: str) -> str:
    # A listing writes its separator, the colon, as \x3a.
    return text.replace("\\x3a", ":")


def _signs_until(primary: list[str], subkeys: Sequence[list[str]]) -> int | None:
    """Return when the last signing key expires; the primary's own expiry ends all."""
    end = _moment(primary)
    signers = [_moment(record) for record in (primary, *subkeys) if "s" in record[11] and record[1] != "r"]
    ends = [moment for moment in signers if moment is not None]
    if not ends or len(ends) < len(signers):
        return end
    last = max(ends)
    return last if end is None else min(end, last)


def _moment(record: list[str]) -> int | None:
    return int(record[6]) if record[6] else None


def pinned(keys: Sequence[Key], fingerprint: str, where: str) -> Key:
    """Return the only key of a file if it is the pinned one. Raises WishError otherwise."""
    found = [key.fingerprint for key in keys]
    if found == [fingerprint]:
        key = keys[0]
        if key.revoked:
            raise WishError(where, f"the key {fingerprint} was revoked by its owner", "trust nothing it signs")
        return key
    if fingerprint in found:
        others = ", ".join(other for other in found if other != fingerprint)
        raise WishError(where, f"holds other keys beside the pinned one ({others})", "apt would trust them all")
    raise WishError(
        where,
        f"holds the key {', '.join(found) or 'of nobody'}, pinned is {fingerprint}",
        "compare it with what the publisher announces before the pin is changed",
    )


def verified(data: bytes, fingerprint: str, where: str, run: Run) -> tuple[bytes, Key]:
    """Return a key file in binary form and its key. Raises WishError naming ``where`` if it is not the pinned one."""
    try:
        binary = dearmoured(data)
        return binary, pinned(keys_in(binary, run), fingerprint, where)
    except ValueError as error:
        if isinstance(error, WishError):
            raise
        raise WishError(where, str(error), "check that it leads to the key itself") from error
