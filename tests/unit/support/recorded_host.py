# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host as files of /proc and /sys, before and after ten seconds of work, for what reads the evidence of a diagnosis.

One instance of `evidence_cases.healthy()` runs there, ranker with process 4100 and three threads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import evidence_cases

PID = 4100
GROUP = "sys/fs/cgroup/tfserving.slice/tfserving-ranker.service"
SERVER = "/usr/bin/tensorflow_model_server\0--port=8500\0--enable_batching=true\0"
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             500000               500000               processes
Max open files            1048576              1048576              files
Max locked memory         unlimited            unlimited            bytes
"""
# The port 8501 (2135) listens with three connections in its queue of new ones; a caller of 8500 (2134) is not heard.
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2135 00000000:0000 0A 00000000:00000003 00:00000000 00000000   990        0 777 1 0 100 0 0 10 0
   1: 0100007F:2134 0100007F:D431 01 00000000:00000200 00:00000000 00000000   990        0 778 1 0 100 0 0 10 0
"""


def write(root: Path, path: str, text: str) -> None:
    """Write one file of the host."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _stat(pid: int, name: str, state: str, majflt: int, ticks: int) -> str:
    fields = [state, 1, pid, pid, 0, -1, 4194304, 900, 0, majflt, 0, ticks, ticks // 2, 0, 0, 20, 0, 3, 0, 12000]
    return f"{pid} ({name}) {' '.join(map(str, fields))} 0 0 18446744073709551615\n"


def _status(name: str, voluntary: int, nonvoluntary: int) -> str:
    return (
        f"Name:\t{name}\nVmRSS:\t  1536000 kB\nVmSwap:\t 0 kB\nThreads:\t3\nCpus_allowed_list:\t1-3\n"
        f"Mems_allowed_list:\t0-1\nvoluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{nonvoluntary}\n"
    )


def server(root: Path, step: int) -> None:
    """Write the process of the server: in each step its threads run 2 s, wait 0.1 s, and fault four pages in."""
    home = f"proc/{PID}"
    name = "tensorflow (x) mode"
    write(root, f"{home}/stat", _stat(PID, name, "S", 4 * step, 400 * step))
    write(root, f"{home}/status", _status("tensorflow_mode", 0, 0))
    write(root, f"{home}/cmdline", SERVER)
    write(root, f"{home}/environ", "SECRET=hush\0TFSERVING_CONFIGURATION=feed-1\0")
    write(root, f"{home}/limits", LIMITS)
    write(root, f"{home}/io", f"rchar: 5\nread_bytes: {4096 * step}\n")
    write(root, f"{home}/maps", "7f00-7f01 r-xp 00000000 08:01 9 /usr/lib/x86_64-linux-gnu/libjemalloc.so.2\n")
    write(root, f"{home}/cgroup", "0::/tfserving.slice/tfserving-ranker.service\n")
    for number in range(3):
        task = f"{home}/task/{PID + number}"
        write(root, f"{task}/stat", _stat(PID + number, name, "RSS"[number], 0, 100 * step))
        write(root, f"{task}/status", _status("tensorflow_mode", 10 * step, step))
        write(root, f"{task}/schedstat", f"{2_000_000_000 * step} {100_000_000 * step} {50 * step}\n")
        write(root, f"{task}/wchan", ("0", "futex_wait_queue", "ep_poll")[number])


def counters(root: Path, step: int) -> None:
    """Write the counters of the host and of the cgroup after some steps."""
    cpu = f"{100 * step} {10 * step} {50 * step} {800 * step} {5 * step} {3 * step} {2 * step} {30 * step} 0 0"
    write(root, "proc/stat", f"cpu  1 2 3\ncpu0 {cpu}\ncpu1 {cpu}\nintr 5\nbtime 1800000000\n")
    for name in ("cpu", "io", "memory"):
        write(root, f"proc/pressure/{name}", _pressure(1000 * step))
    write(root, "proc/vmstat", f"nr_free_pages 900\npgmajfault {7 * step}\ncompact_stall {step}\n")
    tcp = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 0 {0} {0} 2\n"
    write(root, "proc/net/netstat", tcp.format(step))
    write(root, "proc/net/snmp", f"Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 {9 * step}\n")
    write(root, "proc/net/sockstat", "sockets: used 90\nTCP: inuse 30 orphan 0 tw 12 alloc 40 mem 8\n")
    row = f"{256 * step:08x} {step:08x} {2 * step:08x} 0 0 0 0 0 0 0 0 0 "
    write(root, "proc/net/softnet_stat", f"{row}00000001\n{row}00000003\n")
    lines = (
        "           CPU0       CPU1\n",
        f"  24: {10 * step}  {20 * step}  IR-PCI-MSI 1-edge  nvme0q1\n",
        f" LOC: {9999 * step}  1  Local timer interrupts\n",
        f"  25: {step} 0 IR-PCI-MSI 2-edge eth0\n",
    )
    write(root, "proc/interrupts", "".join(lines))
    write(root, "proc/sys/net/netfilter/nf_conntrack_count", f"{60 * step}\n")
    write(root, "proc/sys/net/netfilter/nf_conntrack_max", "262144\n")
    stat = f"usage_usec {2_000_000 * step}\nuser_usec 1\nnr_periods {100 * step}\nnr_throttled {5 * step}\n"
    write(root, f"{GROUP}/cpu.stat", f"{stat}throttled_usec {70_000 * step}\n")
    write(root, f"{GROUP}/cpu.pressure", _pressure(500 * step))


def _pressure(total: int) -> str:
    averages = "avg10=0.00 avg60=0.00 avg300=0.00"
    return f"some {averages} total={total}\nfull {averages} total={total // 10}\n"


def standing(root: Path) -> None:
    """Write what does not change."""
    write(root, "proc/uptime", "5000.00 9000.00\n")
    write(root, "proc/sys/kernel/osrelease", "6.12.48+deb13-amd64\n")
    write(root, "proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n")
    write(root, "proc/net/tcp", TCP)
    write(root, "proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
    for name, text in {"current": "1600000000", "max": "max", "high": "2147483648", "swap.current": "0"}.items():
        write(root, f"{GROUP}/memory.{name}", f"{text}\n")
    write(root, f"{GROUP}/memory.events", "low 0\nhigh 3\nmax 0\noom 0\noom_kill 1\n")
    write(root, f"{GROUP}/memory.numa_stat", "anon N0=4096000 N1=8192\nfile N0=0 N1=0\n")
    write(root, "sys/fs/cgroup/tfserving.slice/cpuset.cpus.effective", "1-7\n")
    write(root, f"{GROUP}/cpuset.mems.effective", "0-1\n")
    write(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n")
    write(root, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
    write(root, "sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 4096 kB\nNode 0 MemFree: 1024 kB\n")
    write(root, "sys/devices/system/node/node0/cpulist", "0-1\n")
    gpu = "sys/bus/pci/devices/0000:3b:00.0"
    for name, text in {
        "class": "0x030200",
        "vendor": "0x10de",
        "current_link_width": "8",
        "max_link_width": "16",
    }.items():
        write(root, f"{gpu}/{name}", f"{text}\n")
    write(root, "sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n")
    write(root, "proc/812/stat", _stat(812, "backup", "R", 0, 100))
    write(root, "proc/812/status", "Name:\tbackup\nCpus_allowed_list:\t0-7\n")
    write(root, "proc/812/cgroup", "0::/system.slice/backup.service\n")


def neighbour(root: Path, step: int) -> None:
    """Write a process that uses a serving CPU for three seconds in a step."""
    write(root, "proc/812/stat", _stat(812, "backup", "R", 0, 200 * step))


def model(root: Path) -> None:
    """Write the model's versions and the configuration of the instance."""
    base = "var/lib/tfserving/models/ranker"
    write(root, f"{base}/7/saved_model.pb", "x" * (1 << 20))
    write(root, f"{base}/7/assets.extra/tf_serving_warmup_requests", "")
    write(root, f"{base}/8/variables/variables.index", "")
    write(root, f"{base}/notes.txt", "")
    write(root, "etc/tfserving/ranker/models.config", "model_config_list {\n}\n")
    write(root, "etc/tfserving/ranker/batching.config", "max_batch_size { value: 32 }\n\x1b[2J")
    write(root, "etc/tfserving/ranker/monitoring.config", "prometheus_config { enable: true }\n")


def plan(root: Path) -> str:
    """Write the plan in force, of ranker alone, and return its path."""
    whole = evidence_cases.healthy(with_gpus=False)["plan"]
    ranker: dict[str, Any] = {**whole["instances"][0], "digest": "feed"}
    path = root / "plan.json"
    path.write_text(json.dumps({**whole, "instances": [ranker]}), encoding="utf-8")
    return str(path)
