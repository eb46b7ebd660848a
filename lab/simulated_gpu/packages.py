# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Build small Debian packages, and a flat repository of them."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Package:
    """A package: ``files`` maps paths to contents, ``links`` to targets, ``fields`` are further control fields.

    ``scripts`` are those that dpkg calls, by their names (``postinst``), each as commands of a shell.
    """

    name: str
    version: str
    depends: str = ""
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """The control file without its description."""
        lines = [f"Package: {self.name}", f"Version: {self.version}", "Architecture: all"]
        lines += ["Maintainer: lab <lab@example.org>", *(f"{key}: {value}" for key, value in self.fields.items())]
        return "\n".join([*lines, f"Depends: {self.depends}"] if self.depends else lines) + "\n"


def repository(place: Path, packages: list[Package]) -> None:
    """Build the packages into ``place`` and index them there."""
    place.mkdir(parents=True, exist_ok=True)
    index = [_build(place, package) for package in packages]
    (place / "Packages").write_text("\n".join(index), encoding="utf-8")


def _build(place: Path, package: Package) -> str:
    """Build a package and return its paragraph of the index."""
    description = "Description: simulated\n"
    deb = place / f"{package.name}_{package.version}_all.deb"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        for path, text in package.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        for path, target in package.links.items():
            (root / path).symlink_to(target)
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(package.control + description, encoding="utf-8")
        for name, commands in package.scripts.items():
            (root / "DEBIAN" / name).write_text(f"#!/bin/sh\nset -e\n{commands}\n", encoding="utf-8")
            (root / "DEBIAN" / name).chmod(0o755)
        command = ["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", root, deb]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{package.control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n{description}"
