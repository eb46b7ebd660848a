# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway sends one server far more calls than the others."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...proxy import Proxy, proxy_of
from ...verdicts import cleared, proof, unknown

# How many times its fair share a server gets, and the calls in a sample from which that is no accident.
SKEW, FEWEST, CHANCE = 1.5, 100.0, 5.0


def judge(case: Case) -> list[Judged]:
    """Judge each backend of the gateway on this host, if there is one."""
    proxy = proxy_of(case)
    if proxy is None:
        return []
    if not proxy.known:
        return [unknown("HAProxy's counters could not be read")]
    return [_judged(proxy, name) for name in proxy.backends if len(proxy.servers(name)) > 1]


def _judged(proxy: Proxy, backend: str) -> Judged:
    # One that came back meanwhile, as in a roll-out, had no chance of its share.
    steady = proxy.steady(backend)
    if len(steady) < 2:
        return unknown(f"the servers of {backend} came, went or changed their weights meanwhile")
    calls, weights = (
        {name: found[name] for name in steady} for found in (proxy.calls(backend), proxy.weights(backend))
    )
    every, weight = sum(calls.values()), sum(weights.values())
    if every < FEWEST or not weight:
        return cleared(f"Too few calls of {backend} to compare its servers.")
    skews = {name: each / every / (weights[name] / weight) for name, each in calls.items() if weights[name]}
    hot = max(skews, key=lambda name: skews[name])
    evidence = proof(
        "HAProxy",
        f"{hot} gets {skews[hot]:.2g} times its share of {every:.0f} calls",
        "about 1",
        proxy.window_s,
    )
    fair = calls[hot] / skews[hot]
    # Of few calls some server gets more by chance (the deviation of a count is its root).
    if skews[hot] <= SKEW or calls[hot] - fair <= CHANCE * fair**0.5:
        return cleared(f"The servers of {backend} get their shares.", evidence)
    test = "The calls of each server were compared with its weight, so that a canary's small share is no skew."
    return Judged("cause", 0.8, (evidence,), test, share=0.3, words=f"{hot} of backend {backend} is hot.")


FAULT = Fault(
    id="gateway.skew",
    title="One server gets far more calls than the others",
    layer="resources",
    observable="calls of the servers of a backend, compared with their weights",
    remedy=Remedy(
        "Balance calls, not connections: few long gRPC connections stay on the server that they began with.",
        "gateway_grpc_mode: parallel_streams; gateway_balance",
        "low",
        restart=False,
    ),
    refs=("grpc/grpc.github.io#815", "grpc/grpc-java#12311"),
    judge=judge,
)
