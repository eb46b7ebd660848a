# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Packages with all dependencies, resolved by apt as if nothing were installed, as a flat repository.

Works on a host of the targets' release, in a directory of its own: neither the sources nor the index nor the packages
of that host change. apt verifies downloads by the signatures of its sources. All refusals are WishError.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..disk import folders
from ..disk.digests import file_digest
from ..errors import WishError

# (arguments) -> (exit status, standard output, standard error).
Run = Callable[[list[str]], tuple[int, str, str]]

WHERE = "bundle_builder"
INDEX = "Packages"
SOURCES = "/etc/apt/sources.list.d"
# The source that the role tfserving installs; its key file is not the bundle's, which apt would call a conflict.
OWN_SOURCE = "tfserving.sources"

_FETCHED = re.compile(r"^'(?P<uri>\S+)' (?P<file>\S+\.deb) (?P<size>\d+)", re.MULTILINE)
_RELEASE = re.compile(r'^VERSION_CODENAME="?([a-z0-9-]+)"?$', re.MULTILINE)


def codename(path: str = "/etc/os-release") -> str:
    """Return the codename of this host's distribution release, such as ``bookworm``."""
    with open(path, encoding="utf-8") as file:
        found = _RELEASE.search(file.read())
    if not found:
        raise WishError(WHERE, "this host's release has no name", "name a host of Debian or Ubuntu")
    return found[1]


class Resolver:
    """A separate apt below ``place`` that assumes nothing is installed."""

    def __init__(self, place: str, run: Run) -> None:
        self.place = place
        self.run = run

    @property
    def archives(self) -> str:
        return os.path.join(self.place, "archives")

    def prepare(self, repositories: Iterable[Mapping[str, Any]], keys: str, sources: str = SOURCES) -> None:
        """Write the sources: this host's, and the repositories with their keys below ``keys``."""
        own = os.path.join(self.place, "sources")
        shutil.rmtree(own, ignore_errors=True)
        for folder in (own, os.path.join(self.place, "lists", "partial"), os.path.join(self.archives, "partial")):
            folders.make(folder)
        with open(os.path.join(self.place, "status"), "w", encoding="utf-8"):
            pass
        for name in sorted(os.listdir(sources)) if os.path.isdir(sources) else ():
            if name != OWN_SOURCE:
                shutil.copy(os.path.join(sources, name), own)
        for number, repository in enumerate(repositories):
            with open(os.path.join(own, f"tfserving-bundle-{number}.list"), "w", encoding="utf-8") as file:
                file.write(source_line(repository, keys))

    def options(self, archives: str) -> list[str]:
        """Return the options that confine apt to this place."""
        settings = {
            # Nothing counts as installed, so that the result is complete whatever this host has.
            "Dir::State::status": f"{self.place}/status",
            "Dir::State::extended_states": f"{self.place}/extended_states",
            "Dir::State::lists": f"{self.place}/lists",
            "Dir::Etc::sourceparts": f"{self.place}/sources",
            "Dir::Cache::archives": archives,
            "Dir::Cache::pkgcache": f"{self.place}/pkgcache.bin",
            "Dir::Cache::srcpkgcache": f"{self.place}/srcpkgcache.bin",
            # Otherwise a source that does not answer would be a warning, and its older index be used.
            "APT::Update::Error-Mode": "any",
            # The place is accessible to root alone; signatures are verified all the same.
            "APT::Sandbox::User": "root",
        }
        return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    def refresh(self) -> None:
        """Fetch the index of every source."""
        self._apt(["update"], self.archives, "the package index cannot be fetched")

    def fetch(self, names: Sequence[str]) -> dict[str, str]:
        """Download packages with their dependencies; return the address of every file by its name."""
        install = ["--yes", "--no-install-recommends", "--allow-downgrades", "install", *names]
        what = f"{' '.join(names)} cannot be downloaded"
        # apt omits files that it already has, so it is asked with an empty directory.
        nowhere = os.path.join(self.place, "nowhere")
        os.makedirs(os.path.join(nowhere, "partial"), exist_ok=True)
        listed = self._apt(["--print-uris", *install], nowhere, what)
        self._apt(["--download-only", *install], self.archives, what)
        return {found["file"]: found["uri"] for found in _FETCHED.finditer(listed)}

    def _apt(self, arguments: list[str], archives: str, problem: str) -> str:
        status, out, err = self.run(["apt-get", "--quiet", *self.options(archives), *arguments])
        if status != 0:
            raise WishError(
                WHERE, f"{problem} ({reason(err or out)})", "check the sources and the network of this host"
            )
        return out


def source_line(repository: Mapping[str, Any], keys: str) -> str:
    """Return a repository as a line of sources.list, trusted with its own key alone."""
    key = os.path.join(keys, os.path.basename(repository["key"]))
    return f"deb [signed-by={key}] {repository['uri']} {repository['suite']} {repository['component']}\n"


def reason(text: str) -> str:
    """Return the first error in apt's output, without its prefix."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or ["it gave no reason"])[0].removeprefix("E: ").strip().rstrip(".")


def collect(resolver: Resolver, sets: Iterable[Sequence[str]], target: str) -> dict[str, str]:
    """Make ``target`` the flat repository of everything these sets of names need; return the files' addresses by name.

    Files no longer needed are removed.
    """
    origins: dict[str, str] = {}
    for names in sets:
        origins.update(resolver.fetch(names))
    folders.make(target)
    for name in set(os.listdir(target)) - set(origins):
        os.unlink(os.path.join(target, name))
    for name in origins:
        place = os.path.join(target, name)
        source = os.path.join(resolver.archives, name)
        if os.path.exists(place):
            os.unlink(place)
        os.link(source, place)
    with open(os.path.join(target, INDEX), "w", encoding="utf-8") as file:
        file.write("\n".join(stanza(resolver.run, target, name) for name in sorted(origins)))
    for name in set(os.listdir(resolver.archives)) - {*origins, "partial", "lock"}:
        os.unlink(os.path.join(resolver.archives, name))
    return origins


def stanza(run: Run, folder: str, name: str) -> str:
    """Return the index entry of one package."""
    path = os.path.join(folder, name)
    status, out, err = run(["dpkg-deb", "--field", path])
    if status != 0:
        raise WishError(WHERE, f"{name} is not a package ({reason(err)})", "run again")
    return f"{out.strip()}\nFilename: ./{name}\nSize: {os.path.getsize(path)}\nSHA256: {file_digest(path)}\n"
