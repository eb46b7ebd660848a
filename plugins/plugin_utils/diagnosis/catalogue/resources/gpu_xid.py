# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The driver has reported an error of a GPU."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.gpus.xid_findings import SEVERITY_OF_ACTION
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xid_lines, xids

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import on_gpus, owner_of
from ...reading import listed, text
from ...verdicts import cleared, proof, unknown

IMPACT = {"critical": 0.9, "warning": 0.4}


def judge(case: Case) -> list[Judged]:
    """Judge the errors in the kernel's log, on a host with GPUs."""
    if not case.gpus and not on_gpus(case):
        return []
    lines = [text(line) for line in listed(case.evidence.get("kernel_log"))]
    if not lines:
        return [unknown("the kernel's log could not be read")]
    events = [event for event in xid_lines.events(lines) if not event.ended and event.action != xids.IGNORE]
    return [_judged(case, event) for event in events] or [cleared("The driver has reported no error since the boot.")]


def _judged(case: Case, event: xid_lines.Event) -> Judged:
    severity = "warning" if event.kind == "unread" else SEVERITY_OF_ACTION[event.action].lower()
    label = f"Xid {event.code}" if event.code else "an error of the driver"
    gpu = next((each for each in case.gpus or () if _same(text(each.get("pci")), event.address)), None)
    evidence = proof(
        "kernel log", f"{label} at {event.address or 'no one GPU'}, {event.count} times", "none since boot"
    )
    return Judged(
        "cause" if severity == "critical" else "suspect",
        0.95 if severity == "critical" else 0.6,
        (evidence,),
        f"{label}: {event.text}. NVIDIA's table says: {xids.ADVICE.get(event.action, 'not known')}.",
        owner_of(case, gpu) if gpu else None,
        impact=IMPACT.get(severity, 0.0),
        words=xids.ADVICE.get(event.action, ""),
    )


def _same(mine: str, theirs: str) -> bool:
    """Tell whether two PCI addresses are the same, whatever the length of their domains."""
    return bool(mine and theirs) and mine.lower()[-10:] == theirs.lower()[-10:]


FAULT = Fault(
    id="gpu.xid",
    title="The driver has reported a GPU error",
    layer="resources",
    observable="NVRM: Xid in the kernel's log",
    remedy=Remedy(
        "Do what NVIDIA's table says for the code; take the host out of rotation first where it is a reset or a boot.",
        "ansible-playbook playbooks/drain.yml --limit HOST",
        "medium",
        restart=True,
    ),
    refs=("https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html",),
    judge=judge,
)
