# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy as Debian ships it, with its libraries, in the cache: fetched once, verified, run from where it lies."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import urllib.request
from functools import cache
from pathlib import Path

from repository import REPOSITORY

CACHE = Path(os.environ.get("FLEET_CACHE") or REPOSITORY / ".cache") / "haproxy"
POOL = "http://deb.debian.org/debian/pool/main"

# By the package's version: the packages and their SHA-256. Those of Debian 13 bring their own C library.
PACKAGES = {
    "2.6.12-1+deb12u3": {
        "h/haproxy/haproxy_2.6.12-1+deb12u3_amd64.deb": (
            "c8fa07420a78bfc47544b2a46e97151a8a12c3b4db62de610b2e37e78506f465"
        ),
        "l/lua5.3/liblua5.3-0_5.3.6-2_amd64.deb": "576ad8ef2e9f6ad21f29f0c90dac17448deefee8f3912877c2a0911b77e5d3ca",
        "o/opentracing-c-wrapper/libopentracing-c-wrapper0_1.1.3-3+b1_amd64.deb": (
            "68013bf6296a776923622c871bed26bc7b6bfe5f84b0fa2707a06382d1db2692"
        ),
        "o/opentracing-cpp/libopentracing1_1.6.0-4_amd64.deb": (
            "af62b62a99979253a79e3443f7dabe13f1f33bc2fc024f99039e3868a67f26f4"
        ),
    },
    "3.0.11-1+deb13u4": {
        "h/haproxy/haproxy_3.0.11-1+deb13u4_amd64.deb": (
            "4649521efe386e6c2957cb034bbf82412cd6eced55b98b9dada1b933c2c4b81a"
        ),
        "g/glibc/libc6_2.41-12+deb13u5_amd64.deb": "b59b0625cd1a791375d40dab23a4d5d3d0641e3d0a773501becdc3725b7f99cf",
        "libx/libxcrypt/libcrypt1_4.4.38-1_amd64.deb": (
            "0ebc144d662e3197982d1bf3a7b8b35ca845e54c68811de0328b1f0d7c67585c"
        ),
        "j/jemalloc/libjemalloc2_5.3.0-3_amd64.deb": "e7d64919e620e8ea46960104efe1e9c977d751e5b610a5d89b0b51aeae9530d7",
        "l/lua5.4/liblua5.4-0_5.4.7-1+b2_amd64.deb": "3456e23667f21a5bea4f2182ec878621bf4c47fbc9819fdaad8835d6d1ee6247",
        "o/opentracing-c-wrapper/libopentracing-c-wrapper0t64_1.1.3-3.1+b1_amd64.deb": (
            "6012776c16169e77fe08e0e0771ccb2e6b1b597b29e34b232c2de1d46a0d7353"
        ),
        "o/opentracing-cpp/libopentracing1_1.6.0-4+b2_amd64.deb": (
            "451786b60ca9724e1b2a85fe99ced3a4210629eb91d1e7e055d0d29b3d791b95"
        ),
        "p/pcre2/libpcre2-8-0_10.46-1~deb13u3_amd64.deb": (
            "e226f661d918f04daf38cdbc4806b7ed7d6ef95c7eb0ade692fc350e31970040"
        ),
        "o/openssl/libssl3t64_3.5.9-1~deb13u1_amd64.deb": (
            "ffefb9af363e0e4592251b2533eb06453c8e470f7772e40263c4b2129251a6d5"
        ),
        "z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+deb13u1_amd64.deb": (
            "8c27c342230503b73dfde629642c3b352e87b554e06d60cf58772f236a305ceb"
        ),
        "libz/libzstd/libzstd1_1.5.7+dfsg-1_amd64.deb": (
            "2f6a2aeacfc925eba8b00ac9139bc4bfccf8cacb09eb93de067074b26948eef9"
        ),
        "g/gcc-14/libgcc-s1_14.2.0-19_amd64.deb": "3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150",
        "g/gcc-14/libstdc++6_14.2.0-19_amd64.deb": "ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0",
    },
}
BOOKWORM, TRIXIE = PACKAGES
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@cache
def command(version: str) -> tuple[str, ...]:
    """Return the command that runs a version, by its own loader where it has one."""
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
            for path, digest in PACKAGES[version].items():
                package = staged.with_suffix(".deb")
                package.write_bytes(_fetched(f"{POOL}/{path}", digest))
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
