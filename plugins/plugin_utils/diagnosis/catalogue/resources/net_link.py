# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A network interface runs slower than it should."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import mapping, number
from ...verdicts import cleared, proof, unknown

# Mbit/s below which no server's interface is meant to run.
LEAST = 1000.0
# A link that falls back loses most of its speed; hosts with 10 and with 25 Gbit/s are a fleet that was bought twice.
FAR = 4.0
Link = Mapping[str, Any]


def judge(case: Case) -> list[Judged]:
    """Judge each interface that calls come and go by."""
    if case.fact("links") is None:
        return [unknown("the interfaces could not be read")]
    up, carrying = _up(case), _carrying(case)
    if up and not carrying:
        return [unknown("which interface calls come by could not be read")]
    return [_judged(case, name, each) for name, each in sorted(carrying.items())]


def _up(case: Case) -> dict[str, Link]:
    links = {name: mapping(each) for name, each in mapping(case.fact("links")).items()}
    return {name: each for name, each in links.items() if each.get("up") and (number(each.get("speed_mbit")) or 0) > 0}


def _carrying(case: Case) -> dict[str, Link]:
    """Return the interfaces that carry calls; a port for management may be as slow as it likes."""
    up = _up(case)
    return {name: each for name, each in up.items() if each.get("carries")} or (up if len(up) == 1 else {})


def _judged(case: Case, name: str, link: Link) -> Judged:
    speed, (usual, before) = number(link.get("speed_mbit")) or 0.0, (_of_peers(case, link), _before(case, name))
    half = link.get("duplex") == "half"
    expected = max(usual or 0.0, before or 0.0, LEAST)
    proofs = (
        proof(f"/sys/class/net/{name}", f"{speed:.0f} Mbit/s, {link.get('duplex')}", f"{expected:.0f} Mbit/s, full"),
    )
    if not half and speed >= expected:
        return cleared(f"{name} has its speed.", *proofs)
    test = "Its speed was compared with the same kind of card on other hosts, and with itself before."
    sure = half or (before is not None and speed < before) or (usual is not None and speed * FAR <= usual)
    return Judged("cause" if sure else "suspect", 0.85 if sure else 0.4, proofs, test, share=0.3 if sure else 0.1)


def _of_peers(case: Case, link: Link) -> float | None:
    """Return the speed at which other hosts' cards of this kind carry calls, by their median."""
    others = [each for peer in case.peers for each in _carrying(peer).values()]
    speeds = [number(each.get("speed_mbit")) for each in others if each.get("device") == link.get("device")]
    known = [each for each in speeds if each]
    return median(known) if known else None


def _before(case: Case, name: str) -> float | None:
    return number(case.yesterday.fact("links", name, "speed_mbit")) if case.yesterday else None


FAULT = Fault(
    id="net.link",
    title="A network interface is slow",
    layer="resources",
    observable="speed or duplex of the interface that carries calls, below those of the same card on other hosts",
    remedy=Remedy(
        "Check cable, transceiver and the switch's port; then let both ends agree on the speed again.",
        "ethtool INTERFACE",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/networking/ethtool-netlink.html",),
    judge=judge,
)
