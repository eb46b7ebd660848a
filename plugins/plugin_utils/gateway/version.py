# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a version of HAProxy can do, told from the text of the installed package's version."""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, quoted

from .schema import Features, Setting

Version = tuple[int, int, int]

# Debian's "2.6.12-1+deb12u4", Ubuntu's "2.4.24-0ubuntu0.22.04.1", with an epoch or without.
_VERSION = re.compile(r"(?:[0-9]+:)?([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})(?:[^0-9].{0,80})?")
OLDEST = (2, 4, 0)

# The first release of each branch with the fix of haproxy#2388: trailers that arrive while the buffer of an HTTP/2
# connection to a server is full end the connection with an error, and every other call on it. Replies of 12 KB and more
# of 16 calls at a time meet it on 2.6.12. From the changelogs of these releases.
_FIXED_IN = {(2, 4): 26, (2, 6): 17, (2, 8): 6}
_FIXED_SINCE = (3, 0)

# The first release that knows it.
_SINCE: dict[str, Version] = {"jwt": (2, 5, 0), "backend_streams": (2, 8, 0)}

MODES = ("auto", "parallel_streams", "serial_streams", "tcp", "refuse")

# The server's own default window of 64 KiB carries 500 Mbit/s at 1 ms; image tensors want more.
WINDOW_BYTES = 1_048_576
# How many calls one connection to a server carries. HAProxy's default of 100 is what a host loses that falls silent.
STREAMS = 8

_CAUSE = "concurrent gRPC calls fail when replies are about 12 KB or larger (haproxy#2388)"


def read(text: str) -> Version:
    """Return a version's numbers, or raise WishError."""
    found = _VERSION.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise WishError("haproxy", f"has the version {quoted(text)}, which cannot be read", "install a release of it")
    version = int(found[1]), int(found[2]), int(found[3])
    if version < OLDEST:
        raise WishError("haproxy", f"is {_text(version)}, and the gateway needs 2.4 or newer", "use a newer system")
    return version


def carries_grpc(version: Version) -> bool:
    """Return whether the release has the fix for large gRPC replies."""
    return version[:2] >= _FIXED_SINCE or version[2] >= _FIXED_IN.get(version[:2], version[2] + 1)


def features(version: Version, mode: str) -> tuple[Features, list[str]]:
    """Return what the release can do and how it carries gRPC, with warnings, or raise WishError.

    :param mode: ``gateway_grpc_mode``; ``auto`` takes the remedy that keeps everything but speed.
    """
    sound = carries_grpc(version)
    warnings = []
    if mode == "refuse" and not sound:
        raise WishError(
            "gateway_grpc_mode",
            f"is refuse, and with HAProxy {_text(version)} {_CAUSE}",
            "install a release with the fix, or set it to auto, serial_streams or tcp",
        )
    chosen = mode if mode not in ("auto", "refuse") else "parallel_streams" if sound else "serial_streams"
    if mode == "auto" and not sound:
        warnings.append(
            f"gateway_grpc_mode: with HAProxy {_text(version)} {_CAUSE}, so each {_serial(version)} carries one call at"
            " a time; install a release with the fix, or set serial_streams to accept this"
        )
    if mode == "parallel_streams" and not sound:
        warnings.append(
            f"gateway_grpc_mode: is parallel_streams, and with HAProxy {_text(version)} {_CAUSE}; set it to auto unless"
            " the probe of this package finds no error"
        )
    known: Features = {
        "jwt": version >= _SINCE["jwt"],
        "backend_streams": version >= _SINCE["backend_streams"],
        "grpc_mode": chosen,
    }
    return known, warnings


def tuning(known: Features) -> list[Setting]:
    """Return the settings of HTTP/2."""
    window: Setting = {
        "name": "tune.h2.initial-window-size",
        "value": str(WINDOW_BYTES),
        "reason": "the default of 64 KiB holds large tensors back to 500 Mbit/s for each connection at 1 ms",
    }
    limit = "tune.h2.be.max-concurrent-streams" if known["backend_streams"] else "tune.h2.max-concurrent-streams"
    if known["grpc_mode"] == "serial_streams":
        reason = f"one call at a time on each connection: otherwise {_CAUSE}"
        return [window, {"name": limit, "value": "1", "reason": reason}]
    if known["backend_streams"]:
        reason = "a server that falls silent takes the calls of its open connections with it, so they carry few"
        return [window, {"name": limit, "value": str(STREAMS), "reason": reason}]
    return [window]


def _serial(version: Version) -> str:
    """Return the connections that serial streams concern: before 2.8 one setting covers those of callers too."""
    return "connection to a server" if version >= _SINCE["backend_streams"] else "connection, also of a caller,"


def _text(version: Version) -> str:
    return ".".join(map(str, version))
