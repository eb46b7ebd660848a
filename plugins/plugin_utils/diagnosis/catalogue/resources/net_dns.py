# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names are resolved slowly."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...reading import number
from ...verdicts import cleared, ms, proof, unknown

# Resolvers of a data centre answer within milliseconds; a second is the time after which glibc still waits (5 s) or a
# cache has gone on to its next server.
SLOW_MS, VERY_SLOW_MS = 100.0, 1000.0


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    took = number(case.fact("resolve_ms"))
    if took is None:
        return [unknown("no name could be resolved, or none was tried")]
    evidence = proof("getaddrinfo", ms(took), f"under {ms(SLOW_MS)}")
    if took <= SLOW_MS:
        return [cleared("Names are resolved quickly.", evidence)]
    test = "A name was resolved on this host. Calls by address, and connections that are kept, do not meet it."
    verdict: Verdict = "cause" if took > VERY_SLOW_MS else "contributor"
    return [Judged(verdict, 0.6, (evidence,), test, share=0.2 if took > VERY_SLOW_MS else 0.05)]


FAULT = Fault(
    id="net.dns",
    title="Names are resolved slowly",
    layer="resources",
    observable="a look-up takes over 100 ms",
    remedy=Remedy(
        "Let the host ask a resolver that answers, with a cache; let callers keep connections.",
        "resolvectl statistics; getent ahosts NAME",
        "low",
        restart=False,
    ),
    refs=("https://man7.org/linux/man-pages/man5/resolv.conf.5.html",),
    judge=judge,
)
