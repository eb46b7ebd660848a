# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host's clock is wrong."""

from __future__ import annotations

from ....signals.thresholds import CLOCK_OFFSET_MS
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import number
from ...verdicts import cleared, ms, proof, unknown

# From here on the clock makes certificates and tokens look invalid.
WRONG_MS = 60_000.0


def judge(case: Case) -> list[Judged]:
    """Judge the clock of the host."""
    synchronised, offset = case.fact("clock", "synchronised"), number(case.fact("clock", "offset_ms"))
    if synchronised is None and offset is None:
        return [unknown("the state of the clock could not be read")]
    evidence = proof(
        "adjtimex(2)",
        f"{ms(offset)} off, synchronised: {synchronised}",
        f"below {ms(CLOCK_OFFSET_MS.value)}, synchronised",
    )
    off = abs(offset or 0.0)
    if synchronised is not False and off <= CLOCK_OFFSET_MS.value:
        return [cleared("The clock is synchronised.", evidence)]
    if case.in_container and off < WRONG_MS:
        # Nobody keeps the time in a container, and its kernel says of the machine's clock what it likes.
        return [unknown("the clock is the machine's, which a container does not keep")]
    return [
        Judged(
            "cause" if off >= WRONG_MS else "suspect",
            0.8 if off >= WRONG_MS else 0.5,
            (evidence,),
            "A wrong clock concerns certificates, tokens and the order of logs, not latencies that this host measures.",
            impact=0.5 if off >= WRONG_MS else 0.1,
        )
    ]


FAULT = Fault(
    id="clock.skew",
    title="The host's clock is wrong",
    layer="configuration",
    observable=f"the clock is not synchronised, or more than {ms(CLOCK_OFFSET_MS.value)} off",
    remedy=Remedy(
        "Let chrony or systemd-timesyncd keep the time, and see that its servers answer.",
        "timedatectl status; systemctl restart chrony",
        "low",
        restart=False,
    ),
    refs=("https://man7.org/linux/man-pages/man2/adjtimex.2.html",),
    judge=judge,
)
