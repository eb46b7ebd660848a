# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where figures begin to be faults, for alerts and for the diagnosis alike: one figure for both, with its reason.

What only one of the two knows stands there.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import sources
from .model import Threshold


@dataclass(frozen=True)
class Limit:
    """A figure, why it begins to be a fault there, and who says so."""

    value: float
    reason: str
    source: str

    @property
    def percent(self) -> str:
        """Return a part of a whole for people."""
        return f"{self.value * 100:g} %"

    def threshold(self, words: str) -> Threshold:
        """Return it as an alert shows it, in words that name the figure."""
        return Threshold(words, self.reason, self.source)


# Of the periods in which a CPU quota stopped an instance. A serving instance has no quota by its plan, and every stop
# lasts for the rest of a period of 100 ms.
THROTTLED = Limit(
    0.01,
    "one stopped period in a hundred is a p99 that the quota makes",
    "kernel documentation, scheduler/sched-bwc",
)
# Of the time in which threads want a CPU and have none. On CPUs of its own a server waits for its own threads alone;
# what waits for a tenth of its time has its p50 a tenth longer.
CPU_WAIT = Limit(
    0.1,
    "in each tenth second a call's thread waited for a CPU",
    "kernel documentation, accounting/psi",
)
# Of the time taken by the hypervisor. Under this it is noise of its bookkeeping.
STOLEN = Limit(
    0.02,
    "what the hypervisor takes shows up in every percentile above the 98th",
    "proc(5): stat, steal",
)
# Of the time in which a task waited for memory.
MEMORY_WAIT = Limit(
    0.05,
    "servers of a plan fit into memory, so that any wait for it comes from something else",
    "kernel documentation, accounting/psi",
)

# Of a table or of a limit in use: from here on a burst of a quarter more fills it.
FULL_SHARE = 0.8
CONNTRACK_USED = Limit(FULL_SHARE, "at the limit the kernel drops new connections", "kernel, nf_conntrack_max")
FILES_USED = Limit(
    FULL_SHARE,
    "at the limit the server accepts no connection and loads no version",
    "proc(5): limits",
)
GATEWAY_CONNECTIONS_USED = Limit(
    FULL_SHARE, "beyond it callers wait in the kernel, where nobody sees them", sources.OWN
)

# Of the time in which HAProxy has nothing to do, and the same as its use.
GATEWAY_IDLE = 0.2
GATEWAY_BUSY = Limit(
    1 - GATEWAY_IDLE, "a busy event loop adds its own wait to each call", "HAProxy, Management Guide, Idle_pct"
)

# Of a file system that is free.
DISK_FREE = Limit(0.1, "the next version of a model may not fit", sources.OWN)
DISK_FREE_PAGE = Limit(0.02, "journals, records and Prometheus stop writing soon", sources.OWN)

# Of the segments sent. Within a data centre it is near 0.
RETRANSMITTED = Limit(
    0.01,
    "a lost segment costs 200 ms, so one in a hundred makes the p99 of large calls",
    "RFC 6298; Linux, TCP_RTO_MIN",
)

CLOCK_OFFSET_MS = Limit(50, "logs and traces of hosts no longer fit together", sources.OWN)

CERTIFICATE_DAYS = Limit(21, "three weeks leave time for an authority that answers by hand", sources.RENEWAL)
CERTIFICATE_DAYS_PAGE = Limit(7, "nobody has renewed it for two weeks; then every call fails", sources.RENEWAL)

# Of the time in which batch threads, CPUs or GPUs are busy; below it, what is slow is slow for another reason.
BUSY = Limit(
    0.9,
    "waits grow as use/(1 - use): at 90 % calls queue nine times as long as at 50 %",
    "queueing theory (M/M/c); tfserving:batch_threads_used_ratio is a mean",
)
# Of the rows executed. Powers of two waste a quarter at most on average; above this other sizes would fit better.
PADDING = Limit(0.2, "a fifth of the capacity computes rows that nobody asked for", sources.OWN)
# How many times its time-out a call waits for a batch at capacity.
BATCH_QUEUE = Limit(
    2,
    "full batches that still wait mean that calls arrive faster than they are executed",
    "tensorflow/serving#10, #60; queueing theory",
)
# How full batches are. One that is half full has not been ended by its size.
BATCH_FILL = Limit(
    0.5,
    "batches wait for rows that do not come, and every call pays for it",
    "tensorflow/serving#1483",
)
# How many times its time-out a call waits for a batch that the time-out ends. The first call of a batch waits for all
# of it, those that join for half of it on average, and arrivals are not that even; a longer wait is one behind busy
# batch threads. (The wait of Poisson arrivals: time-out * (1 + n / 2) / (1 + n) for n that join.)
BATCH_WAITS = (0.4, 1.3)
