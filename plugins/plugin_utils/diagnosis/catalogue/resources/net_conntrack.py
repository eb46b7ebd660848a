# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The firewall's table of connections is full."""

from __future__ import annotations

from ....signals.thresholds import CONNTRACK_USED
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import ratio
from ...verdicts import cleared, first_line, percent, proof, unknown

LINE = r"nf_conntrack: .*table full"
# Above this the next burst is dropped.
BRIM = 0.98


def judge(case: Case) -> list[Judged]:
    """Judge the host, if it tracks connections."""
    lines, used = case.kernel_lines(LINE), ratio(case.latest("conntrack", "count"), case.latest("conntrack", "max"))
    if used is None:
        return [unknown("the table of connections could not be read")] if lines or case.unread("conntrack") else []
    proofs = (
        proof("nf_conntrack_count", f"{percent(used)} of the table in use", f"under {CONNTRACK_USED.percent}"),
        proof("kernel log", first_line(lines), "no line about a full table"),
    )
    if used <= CONNTRACK_USED.value:
        return [cleared("The table of connections has room.", *proofs)]
    full = used >= BRIM
    test = "New connections from outside are dropped while those of the host itself work."
    return [Judged("cause" if full else "contributor", 0.95, proofs, test, impact=0.8 if full else 0.2)]


FAULT = Fault(
    id="net.conntrack",
    title="The table of connections is full",
    layer="resources",
    observable="nf_conntrack_count near its maximum, a line in the kernel's log",
    remedy=Remedy(
        "Enlarge the table, or let the firewall not track the serving ports (notrack).",
        "kernel_tuning_sysctl: {net.netfilter.nf_conntrack_max: 1048576}",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/networking/nf_conntrack-sysctl.html",),
    judge=judge,
)
