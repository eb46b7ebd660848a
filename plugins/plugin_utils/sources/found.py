# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server says about one version before any of it is fetched; all of it is foreign and bounded here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archive_entries import shown
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.web import fetching

# The largest SavedModels have some thousand shards.
MOST_FILES = 10_000
# A page of 500 names, each of a kilobyte and escaped, takes less.
MOST_BYTES = 4 * 1024 * 1024
# For all questions about one version, whatever the server answers.
LOOK_S = 300

DENIED = (401, 403)

Request = Callable[[], tuple[str, Mapping[str, str]]]


@dataclass(frozen=True)
class File:
    """One file: its path in the version, its size in bytes as listed, and how to ask for it.

    ``request`` returns address and headers, made anew each time because signatures expire. ``etag`` tells whether the
    file is still the listed one, and nothing else: it is no digest.
    """

    path: str
    size: int
    request: Request
    etag: str = ""


@dataclass(frozen=True)
class Found:
    """A version: its files, or one archive; and sentences for people."""

    files: tuple[File, ...]
    archive: bool = False
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return the bytes to fetch."""
        return sum(file.size for file in self.files)


@dataclass
class Server:
    """A server that is asked about a version; ``timeout`` is the seconds of silence that it may keep."""

    timeout: float
    end: float = field(default_factory=lambda: time.monotonic() + LOOK_S)

    def ask(self, url: str, headers: Mapping[str, str]) -> bytes:
        """Return the body of an answer. Redirects are refused: what is signed or secret is meant for one address."""
        found = bytearray()
        with fetching.answered(url, timeout=self.timeout, headers=headers, most_redirects=0) as answer:
            if time.monotonic() > self.end:
                problem = f"{answer.place} has been asked for {LOOK_S} s and there is no end of it"
                raise RefusalError(problem, "check that server", "source.uri")
            for chunk in answer:
                found += chunk
                if len(found) > MOST_BYTES:
                    problem = f"{answer.place} answers a question with more than {MOST_BYTES // 1024} KiB"
                    raise RefusalError(problem, "check that server", "source.uri")
        return bytes(found)


def denied(refusal: fetching.StatusError) -> RefusalError:
    """Return the refusal of a server that does not let the controller in; any other one as it is."""
    if refusal.status not in DENIED:
        return refusal
    return RefusalError(refusal.problem, "check source.credentials", "source.credentials")


def require_plain(path: str) -> None:
    """Refuse a listed path that does not lead to one place below a directory: `..`, `//`, control characters."""
    try:
        is_plain = path != "" and archives.safe_path(path) == path
    except RefusalError:
        is_plain = False
    if not is_plain:
        raise RefusalError(f"it lists the odd name {shown(path)}", "remove or rename it there", "source.uri")


def checked(files: Iterable[File]) -> tuple[File, ...]:
    """Return files whose names can stand below one directory, or refuse them all before one is written."""
    found: dict[str, File] = {}
    folders: set[str] = set()
    for file in files:
        if len(found) >= MOST_FILES:
            raise RefusalError(f"it lists more than {MOST_FILES} files", "give the SavedModel alone", "source.uri")
        require_plain(file.path)
        if file.path in found:
            raise RefusalError(f"it lists {shown(file.path)} twice", "check that server", "source.uri")
        found[file.path] = file
        folders.update(file.path[:at] for at, letter in enumerate(file.path) if letter == "/")
    both = sorted(folders & found.keys())
    if both:
        problem = f"it lists {shown(both[0])} as a file and as a folder"
        raise RefusalError(problem, "rename one of them", "source.uri")
    return tuple(found.values())


def saved_model(files: tuple[File, ...]) -> tuple[File, ...]:
    """Return the files of the only SavedModel among these, by paths within it; refuse one that is not whole."""
    listing = archives.Survey({file.path: file.size for file in files})
    prefix = archives.model_root(listing)
    archives.check_saved_model(listing.below(prefix))
    return tuple(replace(file, path=file.path.removeprefix(prefix)) for file in files if file.path.startswith(prefix))
