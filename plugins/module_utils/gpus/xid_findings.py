# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernel log's errors of a host's GPUs and NVSwitches, as findings. Pure functions; `kernel_log` reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..nvidia import kernel_log, xid_lines, xids
from .findings import CRITICAL, INFO, ORDER, PASS, UNKNOWN, WARNING, Finding

SEVERITY_OF_ACTION = {
    xids.IGNORE: INFO,
    xids.RESTART_APP: WARNING,
    xids.UPDATE_SOFTWARE: WARNING,
    # Existing work continues; work that needs the link or the domain does not start.
    xids.DRAIN_P2P: WARNING,
    xids.RECOVER_IMEX: WARNING,
    xids.RESET_GPU: CRITICAL,
    xids.RESTART_HOST: CRITICAL,
    xids.CHECK_MECHANICALS: CRITICAL,
    xids.CONTACT_SUPPORT: CRITICAL,
}
# More than anyone reads. A host has eight GPUs or sixteen, and few kinds of errors at a time.
MOST = 100


def findings(log: Sequence[str] | None, left_out: Collection[str] = ()) -> list[Finding]:
    """Return a finding for each kind of error in the log's lines; None or no lines mean that no log could be read.

    :param left_out: PCI addresses of GPUs to ignore.
    """
    if not log:
        detail = (
            "there is no kernel log to search for Xids: neither journalctl nor dmesg has a line of it, or the file"
            " named in their place cannot be read"
        )
        return [Finding("xid", UNKNOWN, detail)]
    found = [_finding(event) for event in xid_lines.events(log) if event.address not in left_out]
    return _shortened(found) if found else [Finding("xid", PASS, _nothing(log))]


def _nothing(log: Sequence[str]) -> str:
    if kernel_log.has_boot(log):
        return "no Xid in the kernel log since the boot"
    return "no Xid in what is left of the kernel log, which does not go back to the boot"


def _finding(event: xid_lines.Event) -> Finding:
    status = UNKNOWN if event.kind == "unread" else SEVERITY_OF_ACTION[event.action]
    if event.ended:
        status = INFO
    return Finding(
        check="sxid" if event.kind == "sxid" else "xid",
        status=status,
        detail=_detail(event),
        gpu=event.address,
        action="" if status == INFO else event.action,
    )


def _detail(event: xid_lines.Event) -> str:
    notes = [event.instance, f"{event.count} times" if event.count > 1 else "", event.ended]
    noted = ", ".join(note for note in notes if note)
    label = f"{'SXid' if event.kind == 'sxid' else 'Xid'} {event.code}" if event.code else ""
    if not label:
        return f"{event.text} ({noted})" if noted else event.text
    return f"{label} ({noted}): {event.text}" if noted else f"{label}: {event.text}"


def _shortened(found: list[Finding]) -> list[Finding]:
    """Return the worst ``MOST`` in their order, and for the rest one finding with their number."""
    if len(found) <= MOST:
        return found
    by_weight = sorted(range(len(found)), key=lambda index: -ORDER.index(found[index].status))
    others = [found[index] for index in by_weight[MOST:]]
    worst = max((finding.status for finding in others), key=ORDER.index)
    rest = Finding("xid", worst, f"{len(others)} further kinds of errors are in the kernel log, none of them worse")
    return [*(found[index] for index in sorted(by_weight[:MOST])), rest]
