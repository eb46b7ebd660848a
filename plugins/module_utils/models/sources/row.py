# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One row of the table of sources: what sets a type of source apart from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Version(Protocol):
    """One version of a model, as its source sees it."""

    @property
    def uri(self) -> str:
        """Return where this version is."""

    @property
    def sha256(self) -> str | None:
        """Return the checksum that is wished for it."""

    @property
    def source(self) -> Mapping[str, Any]:
        """Return the source as wished."""


class Bench(Protocol):
    """A host at work on one version: what is asked for, and what the host can do for its source."""

    @property
    def request(self) -> Version:
        """Return the version in hand."""

    @property
    def sent(self) -> Mapping[str, Any]:
        """Return what the controller has sent of it, or has found out about it."""

    def download(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """Fetch the version's address; return the path of the file and its checksum."""

    def examine(self, path: str) -> None:
        """Refuse a file or directory of this host that cannot be published, without writing."""

    def differs(self, path: str) -> bool:
        """Return whether a file or directory of this host differs from what was published from it."""


@dataclass(frozen=True)
class Obtained:
    """A version on this host: the checksum that it should have, and the one that it has if it is an archive.

    ``ours`` is whether the file was brought here for this run alone, and goes with it.
    """

    path: str
    wished: str | None
    sha256: str | None
    ours: bool = True


@dataclass(frozen=True)
class Key:
    """A key that only this type has: how a wish is read, and the module's option."""

    check: Callable[[str, Any], Any]
    option: Mapping[str, Any]


def _always(_source: Mapping[str, Any]) -> bool:
    return True


def _nothing(_path: str, _source: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """What sets one type of source apart."""

    type: str
    check: Callable[[str, Mapping[str, Any]], None]
    """Refuses a ``uri`` that is none of this type."""
    obtain: Callable[[Bench], Obtained]
    """Gets a version to where it can be unpacked, on the host."""
    meant: Callable[[Mapping[str, Any]], bool] = _always
    """Tells the rows of one type apart."""
    check_wish: Callable[[str, Mapping[str, Any]], None] = _nothing
    """Refuses a wish that says too little, or too much, for this type."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    """The keys that travel beside the plan and are shown nowhere. An address does so whatever the type."""
    bundled: bool = False
    """Whether the offline bundle fetches it: its ``uri`` is a web address."""
    sent: bool = False
    """Whether the controller sends it: its ``uri`` is a path there."""
    inspect: Callable[[Bench], None] | None = None
    """Refuses in check mode what cannot be published; None where it cannot be known without fetching it."""
    has_other_content: Callable[[Bench], bool] | None = None
    """Compares it with what was published from it; None where only a checksum tells."""
