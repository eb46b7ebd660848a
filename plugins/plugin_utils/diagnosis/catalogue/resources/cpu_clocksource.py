# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernel has given up the fast clock, and each look at the time is a slow access to a device."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import text
from ...verdicts import cleared, first_line, proof, unknown

# Each of them is a read over a bus, of about a microsecond; the server looks at the clock dozens of times a request.
SLOW = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"})
LINES = (r"clocksource: .*(unstable|skew|watchdog)", r"Marking TSC unstable")


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    current = text(case.fact("clocksource", "current"))
    if not current:
        return [unknown("the clock source could not be read")]
    lines = case.kernel_lines(*LINES)
    evidence = proof("current_clocksource", current, "tsc, or the hypervisor's own clock")
    if current not in SLOW:
        return [cleared("The clock is read without leaving the program.", evidence)]
    told = proof("kernel log", first_line(lines), "no line about an unstable clock")
    test = "The clock source is one that is read over a bus."
    return [Judged("cause", 0.9 if lines else 0.75, (evidence, told), test, share=0.15)]


FAULT = Fault(
    id="cpu.clocksource",
    title="The fast clock is lost",
    layer="resources",
    observable="current_clocksource is not tsc",
    remedy=Remedy(
        "Update the firmware and boot again; tsc=reliable on the kernel's command line only after a check that all"
        " sockets count alike.",
        "journalctl --dmesg --grep 'clocksource|TSC'",
        "medium",
        restart=True,
    ),
    refs=("sozu-proxy/sozu#500", "FrameworkComputer/SoftwareFirmwareIssueTracker#107"),
    judge=judge,
)
