# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The connections that callers have to a server, as the kernel knows them: ss(8) of iproute2."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..host.run import Run

# The kernel's own rounding of its times, and the way of an answer through the server.
MARGIN_S = 0.5

_ENDS = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\S+):(\d+)\s+(\S+):(\d+)(?:\s|$)")
_QUIET = re.compile(r"\b(lastsnd|lastrcv):(\d+)")


@dataclass(frozen=True)
class Socket:
    """An established connection to a server of this host, from ``peer``."""

    port: int
    peer: str
    quiet_s: float
    """Seconds since anything was sent or received; 0 if the kernel does not say."""
    waiting: bool
    """Whether bytes wait to be read by the server, or to be taken by the caller."""

    @property
    def is_own(self) -> bool:
        """Return whether the caller is on the loopback address, as the checks of the host itself are."""
        return ipaddress.ip_address(self.peer).is_loopback

    def busy(self, longest_call_s: float) -> bool:
        """Return whether a call may be in flight on it."""
        return self.waiting or self.quiet_s <= longest_call_s + MARGIN_S


def command(ports: Sequence[int]) -> list[str]:
    """Return the command that lists the connections to these ports."""
    wanted = " or ".join(f"sport = :{port}" for port in ports)
    return ["ss", "-Htnio", "state", "established", f"( {wanted} )"]


def established(run: Run, ports: Sequence[int]) -> list[Socket]:
    """Return the connections of others to these ports. Raises RuntimeError if the kernel cannot be asked."""
    code, out, error = run(command(ports))
    if code:
        raise RuntimeError(f"ss cannot list the connections ({(error or out).strip()[:200]}); install iproute2")
    return [socket for socket in parsed(out) if not socket.is_own]


def parsed(text: str) -> list[Socket]:
    """Parse ss: a line with the ends of a connection, and below it, behind a tab, a line with its times.

    A time of 0 ms is left out, and the second line is missing if the connection ended meanwhile: both count as 0.
    """
    found = []
    for entry in text.replace("\n\t", "\t").splitlines():
        ends = _ENDS.match(entry)
        if not ends:
            continue
        received, sent, _here, port, peer, _port = ends.groups()
        times = {name: int(value) for name, value in _QUIET.findall(entry)}
        quiet = min(times.get("lastsnd", 0), times.get("lastrcv", 0)) / 1000
        found.append(Socket(int(port), address(peer), quiet, waiting=received != "0" or sent != "0"))
    return found


def address(text: str) -> str:
    """Return an address as text without brackets and zone; one of IPv4 that was mapped to IPv6 as IPv4."""
    found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
