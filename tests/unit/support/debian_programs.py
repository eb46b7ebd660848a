# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs as distributions ship them, with their libraries: fetched once into the cache, verified, run from there."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import platform
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY

CACHE = Path(os.environ.get("FLEET_CACHE") or REPOSITORY / ".cache").expanduser().absolute()
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
_MOST_BYTES = 50_000_000


class AwayError(Exception):
    """A package cannot be had: the archive is away, or has another version in its place by now."""


@dataclass(frozen=True)
class Program:
    """A version of a program: the packages it takes to run it (address to SHA-256), and the path within them."""

    title: str
    version: str
    packages: Mapping[str, str]
    binary: str
    asked: Sequence[str]

    def path(self) -> str:
        """Return where the program is; skips the test, with the reason, where its packages cannot be had."""
        path, reason = self._had
        if reason:
            pytest.skip(reason)
        return path

    @property
    def name(self) -> str:
        """Return the name of the program's file."""
        return Path(self.binary).name

    @cached_property
    def _had(self) -> tuple[str, str]:
        """Return the path, or why there is none: an archive that is away is asked once for all tests."""
        if platform.machine() != "x86_64":
            return "", f"{self.title} is fetched for x86_64 only"
        if not shutil.which("dpkg-deb"):
            return "", f"there is no dpkg-deb on this machine to unpack {self.title} with"
        # Other pins are other files, so they have a folder of their own.
        pins = hashlib.sha256(json.dumps(self.packages).encode()).hexdigest()[:12]
        root = CACHE / self.name / f"{self.version}-{pins}"
        root.parent.mkdir(parents=True, exist_ok=True)
        # Several processes of one test run meet here.
        with root.with_name(f"{root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not root.exists():
                    self._unpack(root)
            except AwayError as error:
                return "", f"{self.title} {self.version} cannot be fetched: {error}"
        path = str(root / self.name)
        said = subprocess.run([path, *self.asked], capture_output=True, text=True, check=False)
        return path, f"{self.title} {self.version} does not run here ({said.stderr.strip()})" if said.returncode else ""

    def _unpack(self, root: Path) -> None:
        """Fetch the packages into a folder, with a program that finds its libraries wherever the folder is."""
        staged = root.with_name(f"{root.name}.part")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        package = root.with_name(f"{root.name}.deb")
        for url, digest in self.packages.items():
            package.write_bytes(_fetched(url, digest))
            subprocess.run(["dpkg-deb", "-x", str(package), str(staged)], check=True)
            package.unlink()
        # A version of a newer distribution brings its C library, and is run by the loader of that.
        found = (
            f'"$here/{LOADER}" --library-path "$here/{LIBRARIES}"'
            if (staged / LOADER).exists()
            else f'env LD_LIBRARY_PATH="$here/{LIBRARIES}"'
        )
        script = staged / self.name
        script.write_text(f'#!/bin/sh\nhere=$(dirname "$0")\nexec {found} "$here/{self.binary}" "$@"\n')
        script.chmod(0o755)
        staged.rename(root)


class Versions:
    """A program's versions and their packages, as the list (``.yml``) beside a file has them."""

    def __init__(self, file: str, title: str, binary: str, *asked: str) -> None:
        found: dict[str, dict[str, str]] = yaml.safe_load(Path(file).with_suffix(".yml").read_text(encoding="utf-8"))
        self.packages = found
        self._programs = {name: Program(title, name, packages, binary, asked) for name, packages in found.items()}

    def program(self, version: str) -> str:
        """Return the path of a version's program; skips the test, with the reason, where its packages are away."""
        return self._programs[version].path()


def _fetched(url: str, digest: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            content: bytes = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise AwayError(f"{url} ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    assert found == digest, f"{url} has the digest {found}, not {digest}"
    return content
