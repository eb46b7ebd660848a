# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Callers of a gateway make a TLS handshake for nearly each call."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...proxy import proxy_of
from ...verdicts import cleared, proof, unknown

# Handshakes for each call from which connections are hardly kept, and calls a second from which it matters.
OFTEN, FEWEST = 0.5, 5.0


def judge(case: Case) -> list[Judged]:
    """Judge the gateway on this host, if there is one."""
    proxy = proxy_of(case)
    if proxy is None:
        return []
    shakes, calls = proxy.per_second("info", "CumSslConns"), proxy.calls_per_s
    if shakes is None or calls is None:
        return [unknown("HAProxy's counters could not be read")]
    for_each = shakes / calls if calls else 0.0
    proofs = (
        proof("HAProxy", f"{shakes:.1f} TLS handshakes/s for {calls:.1f} calls/s", "few of them", proxy.window_s),
        proof(
            "HAProxy", f"{proxy.latest('info', 'SslFrontendSessionReuse_pct') or 0:.0f} % of sessions resumed", "many"
        ),
    )
    if for_each <= OFTEN or shakes < FEWEST:
        return [cleared("Callers keep their connections.", *proofs)]
    test = "There are as many handshakes as calls; a caller that keeps its connection makes one."
    return [Judged("cause", 0.85, proofs, test, share=0.3)]


FAULT = Fault(
    id="gateway.tls_handshakes",
    title="A TLS handshake for each call",
    layer="resources",
    observable="new TLS connections a second near the calls a second",
    remedy=Remedy(
        "Let callers keep connections: one gRPC channel for all calls, keep-alive for REST.",
        "gateway_idle_timeout_s",
        "none",
        restart=False,
    ),
    refs=("https://docs.haproxy.org/2.6/management.html",),
    judge=judge,
)
