# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Row of the table of sources: the properties of one type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Version(Protocol):
    """One version of a model, as its source needs it."""

    @property
    def uri(self) -> str:
        """Return the address or path of this version."""

    @property
    def sha256(self) -> str | None:
        """Return its checksum according to the wish."""

    @property
    def source(self) -> Mapping[str, Any]:
        """Return the source as wished."""


class Bench(Protocol):
    """The work of a host on one version: the request, and the operations for its source."""

    @property
    def request(self) -> Version:
        """Return the version."""

    @property
    def sent(self) -> Mapping[str, Any]:
        """Return the file that the controller has sent for it, or its finding about the source."""

    def download(self, headers: Mapping[str, str]) -> tuple[str, str]:
        """Fetch the version's address; return the path of the file and its checksum."""

    def examine(self, path: str) -> None:
        """Refuse a file or directory of this host that cannot be published; nothing is written."""

    def differs(self, path: str) -> bool:
        """Return whether a file or directory of this host differs from the version published from it."""


@dataclass(frozen=True)
class Obtained:
    """A version on this host: the checksum that it should have, and the one that it has if it is an archive.

    ``ours`` is true for a file that exists only for this run.
    """

    path: str
    wished: str | None
    sha256: str | None
    ours: bool = True


@dataclass(frozen=True)
class Key:
    """A key that only some types have: the check of its wish, and the module's option."""

    check: Callable[[str, Any], Any]
    option: Mapping[str, Any]


def _always(_source: Mapping[str, Any]) -> bool:
    return True


def _by_placeholder(source: Mapping[str, Any]) -> bool:
    return "{version}" in source["uri"]


def _nothing(_path: str, _source: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """Properties of one type of source."""

    type: str
    check: Callable[[str, Mapping[str, Any]], None]
    """Refuse a ``uri`` that this type cannot use."""
    obtain: Callable[[Bench], Obtained]
    """Bring a version to a path on the host from which it can be unpacked."""
    meant: Callable[[Mapping[str, Any]], bool] = _always
    """Return whether this row is the right one of several with the same type."""
    check_wish: Callable[[str, Mapping[str, Any]], None] = _nothing
    """Refuse a wish that lacks a required key or shows a secret."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    """Keys with secret values, which are not in the plan. A ``uri`` that is an address is treated so for every type."""
    bundled: bool = False
    """Whether the offline bundle contains it; its ``uri`` is a web address."""
    sent: bool = False
    """Whether the controller sends it; its ``uri`` is a path there, unless it is imported."""
    imported: bool = False
    """Whether the controller fetches it first, from the server that ``uri`` names."""
    kept: tuple[str, ...] = ()
    """Those of the secret keys that never leave the controller."""
    several: Callable[[Mapping[str, Any]], bool] = _by_placeholder
    """Return whether a source stands for several versions, by their numbers."""
    one_alone: tuple[str, str, str] = ("uri", "is one address for", "put {version} where the version stands in it")
    """Key, problem and remedy where a source that stands for one version is wished for several."""
    inspect: Callable[[Bench], None] | None = None
    """Refuse a version in check mode if it cannot be published; None if that would need a download."""
    has_other_content: Callable[[Bench], bool] | None = None
    """Return whether it differs from the version published from it; None if only a checksum can tell."""
