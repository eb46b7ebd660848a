# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy as Debian and Ubuntu ship it, with its libraries: fetched once into the cache, verified, run from there."""

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
from functools import cache
from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY

CACHE = Path(os.environ.get("FLEET_CACHE") or REPOSITORY / ".cache").expanduser().absolute() / "haproxy"
PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
_MOST_BYTES = 50_000_000


class AwayError(Exception):
    """A package cannot be had: the archive is away, or has another version in its place by now."""


def program(version: str) -> str:
    """Return the path of a version's program; skips the test, with the reason, where its packages cannot be had."""
    path, reason = _had(version)
    if reason:
        pytest.skip(reason)
    return path


def complaints(version: str, config: Path) -> str:
    """Return what a version says of a configuration, warnings included; nothing where it is content."""
    done = subprocess.run(
        [program(version), "-c", "-dW", "-f", str(config)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode or "[WARNING]" in done.stderr else ""


@cache
def _had(version: str) -> tuple[str, str]:
    """Return the path of the program, or why there is none: an archive that is away is asked once for all tests."""
    if platform.machine() != "x86_64":
        return "", "HAProxy is fetched for x86_64 only"
    if not shutil.which("dpkg-deb"):
        return "", "there is no dpkg-deb on this machine to unpack HAProxy with"
    # Other pins are other files, so they have a folder of their own.
    pins = hashlib.sha256(json.dumps(PACKAGES[version]).encode()).hexdigest()[:12]
    root = CACHE / f"{version}-{pins}"
    CACHE.mkdir(parents=True, exist_ok=True)
    # Several processes of one test run meet here.
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not root.exists():
                _unpack(version, root)
        except AwayError as error:
            return "", f"HAProxy {version} cannot be fetched: {error}"
    path = str(root / "haproxy")
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    return path, f"HAProxy {version} does not run here ({said.stderr.strip()})" if said.returncode else ""


def _unpack(version: str, root: Path) -> None:
    """Fetch the packages into a folder, with a program that finds its libraries wherever the folder is."""
    staged = root.with_name(f"{root.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    package = root.with_name(f"{root.name}.deb")
    for url, digest in PACKAGES[version].items():
        package.write_bytes(_fetched(url, digest))
        subprocess.run(["dpkg-deb", "-x", str(package), str(staged)], check=True)
        package.unlink()
    # A version of a newer distribution brings its C library, and is run by the loader of that.
    found = (
        f'"$here/{LOADER}" --library-path "$here/{LIBRARIES}"'
        if (staged / LOADER).exists()
        else f'env LD_LIBRARY_PATH="$here/{LIBRARIES}"'
    )
    script = staged / "haproxy"
    script.write_text(f'#!/bin/sh\nhere=$(dirname "$0")\nexec {found} "$here/usr/sbin/haproxy" "$@"\n')
    script.chmod(0o755)
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
