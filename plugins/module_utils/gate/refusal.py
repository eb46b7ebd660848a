# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""New connections to the ports of a server, refused with a reset: nft(8), in a table of our own.

A gateway that is reset before it has sent anything tries another server, for calls of any size. The host itself is not
refused: it proves its servers by the loopback address.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..host.run import Run

TABLE = "inet tfserving_gate"

# Each call says all of it, in one transaction: what is there already stays, and the rules are not doubled. Only the
# first packet of a connection is matched, and without connection tracking, whose table a busy host could fill.
_RULES = f"""\
add table {TABLE}
add set {TABLE} ports {{ type inet_service; }}
add chain {TABLE} input {{ type filter hook input priority -5; policy accept; }}
flush chain {TABLE} input
add rule {TABLE} input ip daddr 127.0.0.0/8 accept
add rule {TABLE} input ip6 daddr ::1 accept
add rule {TABLE} input tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn counter reject with tcp reset
"""


def refuse(run: Run, ports: Sequence[int]) -> None:
    """Refuse new connections to these ports, until they are lifted or the host boots. Raises RuntimeError."""
    _load(run, f"{_RULES}add element {TABLE} ports {{ {_listed(ports)} }}\n")


def lift(run: Run, ports: Sequence[int]) -> None:
    """Take connections to these ports again. Raises RuntimeError."""
    if run(["nft", "list", "set", *TABLE.split(), "ports"])[0] == 0:
        # Adding first makes sure that there is something to take away, which nft would refuse otherwise.
        elements = f"element {TABLE} ports {{ {_listed(ports)} }}\n"
        _load(run, f"add {elements}delete {elements}")


def _load(run: Run, script: str) -> None:
    code, out, error = run(["nft", script])
    if code:
        problem = " ".join((error or out).split())[:200]
        raise RuntimeError(f"nft cannot change which connections are refused ({problem}); install nftables")


def _listed(ports: Sequence[int]) -> str:
    return ", ".join(str(port) for port in sorted(set(ports)))
