# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server that ends and is started again, over and over."""

from __future__ import annotations

from ... import said
from ...case import Case
from ...derived import each_instance
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, number, text
from ...verdicts import cleared, first_line, proof, unknown

# Somebody restarts a server once; systemd does so again and again, and counts how often.
LOOP = 3.0
# A process that has lived longer has come up; what ended it long ago is another matter.
YOUNG_S = 120.0
_WORDS = (r"\bFATAL\b", r"Check failed", r"Failed to start server", r"terminate called", r"^F\d{4} ")
_KERNEL = (r"Out of memory: Killed process", r"oom-kill", r"segfault", r"traps: .* general protection")


def judge(case: Case) -> list[Judged]:
    """Judge the unit of each instance."""
    return each_instance(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged:
    restarts = number(at(instance.evidence, "unit", "restarts"))
    if restarts is None:
        return unknown("systemd did not say how often it was started again", instance.name)
    meanwhile = instance.name in case.restarted
    age = instance.process("age_s")
    lived = proof(
        "systemctl show",
        f"started again {restarts:.0f} times, {'also ' if meanwhile else 'not '}between the samples",
        "never",
    )
    stopped = at(instance.evidence, "unit", "state") == "inactive"
    is_up = not meanwhile and instance.running is not False and (age is None or age >= YOUNG_S)
    if restarts < LOOP or is_up or stopped:
        return cleared("It is not started again and again.", lived, instance=instance.name)
    result, status = (at(instance.evidence, "unit", name) for name in ("result", "exit_status"))
    ended = proof("systemctl show", f"result {text(result) or 'unknown'}, exit status {status}", "success, 0")
    kernel = proof("kernel log", first_line(case.kernel_lines(*_KERNEL)), "no such line")
    return Judged(
        "cause",
        0.6,
        (lived, ended, kernel, *said.proofs(instance, *_WORDS)),
        "Somebody who restarts it does so once; systemd alone counts on.",
        instance.name,
        impact=0.9,
        words="it comes up and ends again",
    )


FAULT = Fault(
    id="server.restarts",
    title="The server is started again and again",
    layer="model",
    observable="NRestarts of the unit grows, and its process is young or another one in each sample",
    remedy=Remedy(
        "Read its last words and mend what ends it; another cause of this report may name that.",
        "journalctl -u tfserving@INSTANCE.service -n 200",
        "none",
        restart=False,
    ),
    refs=("https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Restart=",),
    judge=judge,
)
