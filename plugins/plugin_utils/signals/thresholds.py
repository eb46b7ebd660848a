# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where figures begin to be faults, for alerts and for the diagnosis alike: one figure for both, with its reason."""

from __future__ import annotations

# Part of the periods in which a CPU quota stopped an instance. A serving instance has no quota by its plan, and every
# stop lasts for the rest of a period of 100 ms: 1 % of them is the 99th percentile.
# https://docs.kernel.org/scheduler/sched-bwc.html
THROTTLED_RATIO = 0.01
# Part of the time in which a task of the serving slice waited for a CPU. https://docs.kernel.org/accounting/psi.html
CPU_PRESSURE = 0.10
