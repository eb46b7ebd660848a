# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs in the session of somebody who has logged in: starts busy processes and prints on which CPUs they ran, as JSON.

Argument: CPUs that they then ask for by sched_setaffinity(2), as a list such as 2-5,8-11 in numbers and commas.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

SECONDS = 2.0
PAUSE_S = 0.01


def spin() -> None:
    while True:
        pass


def last_cpu(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(") ")[2].split()[36])


def start() -> int:
    pid = os.fork()
    if pid == 0:
        spin()
    return pid


def refusal(cpus: set[int]) -> str:
    """What the kernel says when the process asks for these CPUs; empty when it gives at least one of them."""
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        return os.strerror(error.errno)
    return ""


def main() -> None:
    wanted = {int(cpu) for cpu in sys.argv[1].split(",")}
    # As many as the machine has CPUs: wherever there is room for them to spread to, they do.
    busy = [start() for _ in range(os.sysconf("SC_NPROCESSORS_ONLN"))]
    seen: set[int] = set()
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            seen |= {last_cpu(pid) for pid in busy}
            time.sleep(PAUSE_S)
    finally:
        for pid in busy:
            os.kill(pid, signal.SIGKILL)
    with open("/proc/self/cgroup") as cgroup:
        group = cgroup.read().strip().rpartition(":")[2]
    print(json.dumps({"ran_on": sorted(seen), "refusal": refusal(wanted), "cgroup": group}))


if __name__ == "__main__":
    main()
