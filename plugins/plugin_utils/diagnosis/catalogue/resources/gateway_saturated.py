# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway has no time or no connections left."""

from __future__ import annotations

from ....signals.thresholds import GATEWAY_CONNECTIONS_USED, GATEWAY_IDLE
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...proxy import proxy_of
from ...reading import ratio
from ...verdicts import cleared, ms, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge the gateway on this host, if there is one."""
    proxy = proxy_of(case)
    if proxy is None:
        return []
    idle, used = proxy.idle, ratio(proxy.latest("info", "CurrConns"), proxy.latest("info", "Maxconn"))
    if idle is None and used is None:
        return [unknown("HAProxy's counters could not be read")]
    proofs = (
        proof("HAProxy", f"idle for {percent(idle)}", f"over {percent(GATEWAY_IDLE)}"),
        proof("HAProxy", f"{percent(used)} of its connections in use", f"under {GATEWAY_CONNECTIONS_USED.percent}"),
        proof("HAProxy", f"{proxy.queued:.0f} calls wait for a server, {ms(proxy.wait_ms)} on average", "none"),
    )
    if (idle is None or idle > GATEWAY_IDLE) and (used is None or used < GATEWAY_CONNECTIONS_USED.value):
        return [cleared("The gateway has time and connections left.", *proofs)]
    full = (idle is not None and idle < GATEWAY_IDLE / 2) or (used is not None and used >= 0.98)
    test = "It is the gateway itself that is busy; calls that wait for busy servers leave it idle."
    share = 0.0 if idle is None else max(GATEWAY_IDLE - idle, 0.0) / GATEWAY_IDLE * 0.6
    impact = 0.7 if used is not None and used >= 0.98 else 0.0
    return [Judged("cause" if full else "contributor", 0.85, proofs, test, share=share, impact=impact)]


FAULT = Fault(
    id="gateway.saturated",
    title="The gateway is saturated",
    layer="resources",
    observable="Idle_pct below 20, connections at the limit",
    remedy=Remedy(
        "Give the gateway more threads or connections, or add a gateway.",
        "gateway_threads; gateway_max_connections",
        "low",
        restart=False,
    ),
    refs=("https://docs.haproxy.org/2.6/management.html",),
    judge=judge,
)
