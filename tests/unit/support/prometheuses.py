# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Prometheus and promtool as Debian ships them: fetched once into the cache, verified, run from there."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import platform
import shutil
import subprocess
import urllib.request
from functools import cache
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY

CACHE = Path(os.environ.get("FLEET_CACHE") or REPOSITORY / ".cache").expanduser().absolute() / "prometheus"
PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE = PACKAGES
_MOST_BYTES = 100_000_000


class AwayError(Exception):
    """A package cannot be had: the archive is away, or has another version in its place by now."""


def programs(version: str) -> Path:
    """Return the folder of a version's programs; skips the test, with the reason, where they cannot be had."""
    folder, reason = _had(version)
    if reason:
        pytest.skip(reason)
    return folder


@cache
def _had(version: str) -> tuple[Path, str]:
    """Return the folder, or why there is none: an archive that is away is asked once for all tests."""
    if platform.machine() != "x86_64":
        return CACHE, "Prometheus is fetched for x86_64 only"
    if not shutil.which("dpkg-deb"):
        return CACHE, "there is no dpkg-deb on this machine to unpack Prometheus with"
    # Other packages are other files, so they have a folder of their own.
    root = CACHE / f"{version}-{hashlib.sha256(repr(PACKAGES[version]).encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    # Several processes of one test run meet here.
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not root.exists():
                _unpack(version, root)
        except AwayError as error:
            return CACHE, f"Prometheus {version} cannot be fetched: {error}"
    folder = root / "usr" / "bin"
    said = subprocess.run([folder / "promtool", "--version"], capture_output=True, text=True, check=False)
    return folder, f"Prometheus {version} does not run here ({said.stderr.strip()})" if said.returncode else ""


def _unpack(version: str, root: Path) -> None:
    staged = root.with_name(f"{root.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    package = root.with_name(f"{root.name}.deb")
    for url, digest in PACKAGES[version].items():
        package.write_bytes(_fetched(url, digest))
        subprocess.run(["dpkg-deb", "-x", str(package), str(staged)], check=True)
        package.unlink()
    staged.rename(root)


def _fetched(url: str, digest: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            content: bytes = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise AwayError(f"{url} ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    assert found == digest, f"{url} has the digest {found}, not {digest}"
    return content
