# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Packets are lost between the host and its callers."""

from __future__ import annotations

from ....signals.thresholds import RETRANSMITTED
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import ratio
from ...verdicts import cleared, percent, proof, unknown

# Segments sent again within a sample, below which a ratio says nothing.
FEWEST = 20.0
# The kernel's shortest wait before it sends again.
WAIT_MS = 200.0


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    again, sent = case.grown("net", "Tcp.RetransSegs"), case.grown("net", "Tcp.OutSegs")
    if again is None or sent is None:
        return [unknown("the counters of TCP could not be read")]
    lost = again / sent if sent else 0.0
    apart = case.apart(_lost, RETRANSMITTED.value / 10)
    timeouts = case.grown("net", "TcpExt.TCPTimeouts") or 0.0
    proofs = (
        proof(
            "/proc/net/snmp", f"{percent(lost)} of segments sent again", f"under {RETRANSMITTED.percent}", case.window_s
        ),
        proof("/proc/net/netstat", f"{timeouts:.0f} time-outs", "0", case.window_s),
        proof("other hosts", "unknown" if apart is None else f"{apart:.1f} deviations above them", "under 3"),
    )
    if lost <= RETRANSMITTED.value or again < FEWEST:
        return [cleared("Hardly a packet is lost.", *proofs)]
    alone = apart is not None and apart > 3
    request = max((each.request_ms() or 0.0 for each in case.instances), default=0.0)
    share = min(lost * WAIT_MS / (lost * WAIT_MS + request), 0.9) if request else lost
    test = "A host alone with its losses has a bad cable, port or card; a fleet with them has a bad switch."
    return [Judged("cause", 0.9 if alone else 0.75, proofs, test, share=share)]


def _lost(case: Case) -> float | None:
    return ratio(case.grown("net", "Tcp.RetransSegs"), case.grown("net", "Tcp.OutSegs"))


FAULT = Fault(
    id="net.loss",
    title="Packets are lost",
    layer="resources",
    observable="RetransSegs and TCPTimeouts grow",
    remedy=Remedy(
        "Look at the errors of the interface and the switch's port; change the cable.",
        "ip -statistics link; ethtool --statistics INTERFACE",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/networking/snmp_counter.html", "https://www.rfc-editor.org/rfc/rfc6298"),
    judge=judge,
)
