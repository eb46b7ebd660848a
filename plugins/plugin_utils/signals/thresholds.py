# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where figures begin to be faults, for alerts and for the diagnosis alike: one figure for both, with its reason."""

from __future__ import annotations

# Part of the periods in which a CPU quota stopped an instance. A serving instance has no quota by its plan, and every
# stop lasts for the rest of a period of 100 ms: with 1 % of periods the 99th percentile shows it.
# https://docs.kernel.org/scheduler/sched-bwc.html
THROTTLED_RATIO = 0.01
# Part of the time in which threads want a CPU and have none. On CPUs of its own a server waits for its own threads
# alone; what waits for a tenth of its time has its p50 a tenth longer.
WAIT_RATIO = 0.10
# Part of the time taken by the hypervisor. Under 2 % it is noise of its bookkeeping.
# https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
STEAL_RATIO = 0.02
# Interrupts a second on one serving CPU: with 5 to 10 µs each, 1000 are a hundredth of it,
# and they hit single requests.
INTERRUPTS_PER_S = 1000.0
# Part of the highest clock below which a loaded CPU or GPU is slow: the clock that all cores can keep at once lies
# above it on servers, the one of power saving far below.
CLOCK_RATIO = 0.8
# Part of the time in which a task waited for memory: servers of a plan fit, so any wait comes from something else.
# https://docs.kernel.org/accounting/psi.html
MEMORY_PRESSURE = 0.05
# Part of the time in which a task waited for a disk.
IO_PRESSURE = 0.10
# Parts of a table or a limit in use: of conntrack's table, of open files, of the ports for connections. Above 80 % a
# burst of a quarter more fills it.
FULL_SHARE = 0.8
# Free part of a file system below which the next version of a model may not fit, and below which journals and records
# stop being written soon.
DISK_FREE = 0.10
DISK_FREE_PAGE = 0.02
# Segments sent again, as a part of those sent. Within a data centre it is near 0; from 1 % on the 99th percentile
# contains the kernel's shortest retransmission time of 200 ms. https://www.rfc-editor.org/rfc/rfc6298
RETRANSMITTED_RATIO = 0.01
# Offset of the clock in ms from which records of hosts no longer line up.
CLOCK_OFFSET_MS = 50.0
# Days before a certificate's end: a ticket at 21, a page at 7.
CERTIFICATE_DAYS = 21.0
CERTIFICATE_DAYS_PAGE = 7.0
# Part of its time that a gateway has nothing to do; below 20 % its event loop adds to the latency of calls.
# https://docs.haproxy.org/2.6/management.html (Idle_pct)
GATEWAY_IDLE = 0.2
