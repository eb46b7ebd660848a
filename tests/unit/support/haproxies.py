# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy as Debian and Ubuntu ship it, with its libraries: fetched once into the cache, verified, run from there."""

from __future__ import annotations

import fcntl
import hashlib
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

CACHE = Path(os.environ.get("FLEET_CACHE") or REPOSITORY / ".cache") / "haproxy"
PACKAGES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
BOOKWORM, TRIXIE, JAMMY, NOBLE = PACKAGES
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@cache
def command(version: str) -> tuple[str, ...]:
    """Return the command that runs a version, by its own loader where it has one."""
    if platform.machine() != "x86_64":
        pytest.skip("HAProxy is fetched for x86_64 only")
    root = _unpacked(version)
    libraries, binary = root / LIBRARIES, root / "usr/sbin/haproxy"
    loader = libraries / "ld-linux-x86-64.so.2"
    if loader.exists():
        return str(loader), "--library-path", str(libraries), str(binary)
    return "env", f"LD_LIBRARY_PATH={libraries}", str(binary)


def complaints(version: str, config: Path) -> str:
    """Return what a version says of a configuration, warnings included; nothing where it is content."""
    done = subprocess.run(
        [*command(version), "-c", "-dW", "-f", str(config)], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode or "[WARNING]" in done.stderr else ""


def _unpacked(version: str) -> Path:
    root = CACHE / version
    CACHE.mkdir(parents=True, exist_ok=True)
    # Several processes of one test run meet here.
    with (CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            staged = CACHE / f"{version}.part"
            shutil.rmtree(staged, ignore_errors=True)
            for url, digest in PACKAGES[version].items():
                package = staged.with_suffix(".deb")
                package.write_bytes(_fetched(url, digest))
                subprocess.run(["dpkg-deb", "-x", str(package), str(staged)], check=True)
                package.unlink()
            staged.rename(root)
    return root


def _fetched(url: str, digest: str) -> bytes:
    with urllib.request.urlopen(url, timeout=120) as answer:
        content: bytes = answer.read(50_000_000)
    found = hashlib.sha256(content).hexdigest()
    assert found == digest, f"{url} has the digest {found}, not {digest}"
    return content
