# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel's log says of a host's GPUs and NVSwitches, as findings. Pure functions; `kernel_log` reads."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils import xids
from ansible_collections.tfserving.fleet.plugins.module_utils.gpu_findings import (
    CRITICAL,
    INFO,
    PASS,
    UNKNOWN,
    WARNING,
    Finding,
)

SEVERITY_OF_ACTION = {
    xids.IGNORE: INFO,
    xids.RESTART_APP: WARNING,
    xids.UPDATE_SOFTWARE: WARNING,
    # Work that is there goes on; what needs the link or the domain does not start.
    xids.DRAIN_P2P: WARNING,
    xids.RECOVER_IMEX: WARNING,
    xids.RESET_GPU: CRITICAL,
    xids.RESTART_HOST: CRITICAL,
    xids.CHECK_MECHANICALS: CRITICAL,
    xids.CONTACT_SUPPORT: CRITICAL,
}


def findings(log: Sequence[str] | None) -> list[Finding]:
    """Return a finding for each kind of error in the log's lines; None stands for a log that could not be read."""
    if log is None:
        return [Finding("xid", UNKNOWN, "the kernel log could not be read")]
    events = xids.events(log)
    if not events:
        return [Finding("xid", PASS, "no Xid in the kernel log since the boot")]
    return [
        Finding(
            check=event.kind,
            status=SEVERITY_OF_ACTION[event.action],
            detail=f"{'SXid' if event.kind == 'sxid' else 'Xid'} {event.code}"
            f"{f' ({event.count} times)' if event.count > 1 else ''}: {event.text}",
            gpu=event.address,
            action="" if event.action == xids.IGNORE else event.action,
        )
        for event in events
    ]
