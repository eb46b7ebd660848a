# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A network interface runs slower than it should."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import mapping, number
from ...verdicts import cleared, proof, unknown

# Mbit/s below which no server's interface is meant to run.
LEAST = 1000.0


def judge(case: Case) -> list[Judged]:
    """Judge each interface that is up and has a speed."""
    links = case.fact("links")
    if links is None:
        return [unknown("the interfaces could not be read")]
    up = {name: mapping(each) for name, each in mapping(links).items() if mapping(each).get("up")}
    return [_judged(case, name, each) for name, each in sorted(up.items()) if (number(each.get("speed_mbit")) or 0) > 0]


def _judged(case: Case, name: str, link: Mapping[str, object]) -> Judged:
    speed, usual = number(link.get("speed_mbit")) or 0.0, _usual(case, name)
    half = link.get("duplex") == "half"
    proofs = (
        proof(
            f"/sys/class/net/{name}", f"{speed:.0f} Mbit/s, {link.get('duplex')}", f"{usual or LEAST:.0f} Mbit/s, full"
        ),
    )
    slower = usual is not None and speed < usual
    if not half and not slower and speed >= LEAST:
        return cleared(f"{name} has its speed.", *proofs)
    test = "Its speed was compared with other hosts now and with itself before; large bodies suffer first."
    sure = half or slower
    return Judged("cause" if sure else "suspect", 0.85 if sure else 0.4, proofs, test, share=0.3 if sure else 0.1)


def _usual(case: Case, name: str) -> float | None:
    """Return the speed of the same interface on other hosts, by their median, or its own before."""
    others = [number(peer.fact("links", name, "speed_mbit")) for peer in case.peers]
    known = [each for each in others if each]
    if known:
        return median(known)
    return number(case.yesterday.fact("links", name, "speed_mbit")) if case.yesterday else None


FAULT = Fault(
    id="net.link",
    title="A network interface is slow",
    layer="resources",
    observable="speed or duplex below that of the other hosts",
    remedy=Remedy(
        "Check cable, transceiver and the switch's port; then let both ends agree on the speed again.",
        "ethtool INTERFACE",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/networking/ethtool-netlink.html",),
    judge=judge,
)
