# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server's queue of new connections runs over."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import mapping, number
from ...verdicts import cleared, proof, unknown

# Between the samples, and of all new connections. One that is dropped now and then comes again after a second.
OFTEN, MANY = 10.0, 0.01


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    overflows, drops = case.grown("net", "TcpExt.ListenOverflows"), case.grown("net", "TcpExt.ListenDrops")
    if overflows is None and drops is None:
        return [unknown("the counters of TCP could not be read")]
    lost = max(overflows or 0.0, drops or 0.0)
    full = [each for each in case.listeners if _full(each)]
    told = ", ".join(f"port {each.get('port')}: {each.get('queue')} of {each.get('backlog')}" for each in full[:4])
    proofs = (
        proof("/proc/net/netstat", f"{lost:.0f} connections dropped", "0", case.window_s),
        proof("ss -ltn", told or "no queue at its limit", "no queue at its limit"),
        proof("somaxconn", str(case.fact("somaxconn")), "as planned"),
    )
    if not lost and not full:
        return [cleared("No new connection was dropped.", *proofs)]
    owner = next((each.name for each in case.instances if _owns(each, full)), None)
    test = "The kernel counts what it dropped, beside what it opened; a full queue on one port says whose."
    often = lost >= OFTEN and lost >= MANY * (lost + (case.grown("net", "Tcp.PassiveOpens") or 0.0))
    confidence, impact = 0.95 if full else 0.8, 0.5 if often else 0.1
    return [Judged("cause" if often else "contributor", confidence, proofs, test, owner, impact=impact)]


def _full(listener: Mapping[str, object]) -> bool:
    queue, backlog = number(listener.get("queue")), number(listener.get("backlog"))
    return queue is not None and bool(backlog) and queue >= (backlog or 0.0)


def _owns(instance: Instance, listeners: list[Mapping[str, object]]) -> bool:
    """Tell whether one of the ports is an instance's."""
    ports = set(mapping(instance.plan.get("ports")).values())
    return any(each.get("port") in ports for each in listeners)


FAULT = Fault(
    id="net.listen_overflow",
    title="New connections are dropped",
    layer="resources",
    observable="ListenOverflows and ListenDrops grow",
    remedy=Remedy(
        "Let callers keep their connections, through a gateway; then allow longer queues.",
        "kernel_tuning_sysctl: {net.core.somaxconn: 16384}",
        "low",
        restart=True,
    ),
    refs=("https://docs.kernel.org/networking/snmp_counter.html",),
    judge=judge,
)
