# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host runs out of ports for new connections."""

from __future__ import annotations

from ....signals.thresholds import FULL_SHARE
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import listed, number, ratio
from ...verdicts import cleared, first_line, percent, proof, unknown

LINES = (r"Cannot assign requested address", r"EADDRNOTAVAIL", r"no free ports?")
BRIM = 0.95


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    waiting, ports = case.latest("net", "sockstat.tcp_tw"), _ports(case)
    used = ratio(waiting, ports)
    if used is None:
        return [unknown("the sockets or the range of ports could not be read")]
    lines = [line for each in case.instances for line in each.log(*LINES)] + case.kernel_lines(*LINES)
    proofs = (
        proof("/proc/net/sockstat", f"{waiting:.0f} connections in TIME_WAIT", "few"),
        proof("ip_local_port_range", f"{ports:.0f} ports, {percent(used)} taken", f"under {percent(FULL_SHARE)}"),
        proof("journal", first_line(lines), "no line about addresses"),
    )
    if used <= FULL_SHARE:
        return [cleared("There are ports for new connections.", *proofs)]
    full = used >= BRIM or bool(lines)
    test = "Connections that are kept work on; new ones find no port."
    return [Judged("cause" if full else "contributor", 0.9, proofs, test, impact=0.6 if full else 0.2)]


def _ports(case: Case) -> float | None:
    span = [number(each) for each in listed(case.fact("port_range"))]
    return None if len(span) != 2 or span[0] is None or span[1] is None else span[1] - span[0] + 1


FAULT = Fault(
    id="net.ports",
    title="Ports for new connections run out",
    layer="resources",
    observable="connections in TIME_WAIT near the number of local ports",
    remedy=Remedy(
        "Keep connections instead of opening one for each call; then widen the range.",
        "kernel_tuning_sysctl: {net.ipv4.ip_local_port_range: 16384 65535}",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/networking/ip-sysctl.html",),
    judge=judge,
)
