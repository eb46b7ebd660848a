# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Two faults at once, injected into a live host: both are among the first three findings."""

from __future__ import annotations

from contextlib import ExitStack

import injections
import pytest

# The first fault is one of the instance main or of the host, the second one of another place.
PAIRS = (
    ("rest.threads", "batching.padding"),
    ("cpu.throttled", "batching.queue_full"),
    ("model.load_fails", "batching.timeout_long"),
    ("flags.unknown", "net.dns"),
    ("host.files", "batching.never_fill"),
    ("cpu.neighbour", "disk.full"),
    ("models.base_path", "net.listen_overflow"),
    ("model.stuck", "batching.file_missing"),
    ("tls.certificate", "batching.sizes"),
    ("rest.port_closed", "net.ports"),
)
# Of `make test`.
SAMPLE = PAIRS[0]


@pytest.mark.parametrize(
    "pair", [pytest.param(each, marks=() if each == SAMPLE else pytest.mark.long, id="+".join(each)) for each in PAIRS]
)
def test_both_faults_are_among_the_first_three(pair, machine, diagnosed, shown):
    with ExitStack() as injected:
        # A server that is broken first would be waited for while the other one starts.
        variables = [injected.enter_context(injections.INJECTIONS[fault](machine)) or {} for fault in reversed(pair)]
        found = diagnosed(**{name: value for each in variables for name, value in each.items()})
    order = [each["id"] for each in found["findings"]]
    shown(f"{' and '.join(pair)}: {', '.join(order[:4])}")
    assert set(pair) <= set(order[:3])
