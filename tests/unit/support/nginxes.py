# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Nginx with Lua, and Redis, as Debian ships them, for the gateway's cache."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import redises
from debian_programs import Versions

START_S = 60
_VERSIONS = Versions(__file__, "nginx", "usr/sbin/nginx", "-v")
BOOKWORM, TRIXIE = _VERSIONS.packages
REDIS_OF = {BOOKWORM: redises.BOOKWORM, TRIXIE: redises.TRIXIE}


def places(version: str, place: Path) -> list[tuple[str, str]]:
    """Return the texts to replace in the role's files, for a process of this account in a folder."""
    root = Path(_VERSIONS.program(version)).parent
    return [
        ("/usr/lib/nginx/modules", f"{root}/usr/lib/nginx/modules"),
        ("/usr/share/lua/5.1", f"{root}/usr/share/lua/5.1"),
        ('"/etc/tfserving-cache/', f'"{place}/etc/tfserving-cache/'),
        (" /etc/tfserving-cache/", f" {place}/etc/tfserving-cache/"),
        ("/run/credentials/tfserving-cache.service/store", f"{place}/etc/tfserving-cache/store.secret"),
        ("/run/tfserving-store/", f"{place}/"),
    ]


def command(version: str, place: Path, *arguments: str) -> list[str]:
    """Return a command of a version with the configuration in a folder."""
    (place / "nginx").mkdir(exist_ok=True)
    config = f"{place}/etc/tfserving-cache/nginx.conf"
    own = f"daemon off; pid {place}/nginx.pid;{' user root;' if Path('/root').owner() == Path(place).owner() else ''}"
    return [_VERSIONS.program(version), "-e", "stderr", "-p", f"{place}/nginx", "-c", config, "-g", own, *arguments]


def complaints(version: str, place: Path) -> str:
    """Return what a version says of the configuration in a folder; nothing where it is content."""
    said = subprocess.run(command(version, place, "-t", "-q"), capture_output=True, text=True, check=False)
    return said.stderr


def start_redis(version: str, place: Path, *arguments: str) -> subprocess.Popen[Any]:
    """Start the Redis of a folder's files, or one with other arguments, and wait until its socket is there."""
    sock = place / "redis.sock"
    sock.unlink(missing_ok=True)
    own = arguments or (f"{place}/etc/tfserving-cache/redis.conf",)
    with (place / "redis.log").open("ab") as output:
        process = subprocess.Popen(
            [redises.program(REDIS_OF[version]), *own], stdout=output, stderr=output, cwd=str(place)
        )
    end = time.monotonic() + START_S
    while not sock.exists():
        assert process.poll() is None, (place / "redis.log").read_text()
        assert time.monotonic() < end, (place / "redis.log").read_text()
        time.sleep(0.02)
    return process
