# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host as the collector finds it: a tree of files with a plan and a server, and programs that answer as told."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils.collector import exposition, programs
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import Host
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.state import State
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree

SLICE = "tfserving.slice"
GROUP = f"{SLICE}/tfserving@ranker.service"
NOW = 1_800_000_000.0
BOOT = "6e0f0d0c-0000-4000-8000-000000000001"


def instance(**more):
    """Return the plan's entry of an instance, with what the collector reads of one."""
    policy = {"specific": {"versions": [7]}}
    config = {"model_config_list": {"config": [{"name": "m", "base_path": "x", "model_version_policy": policy}]}}
    return {
        "name": "ranker", "models": ["m"], "cpus": "2-3", "gpus": [], "ports": {"grpc": 8500, "rest": 8501},
        "digest": "0123456789ab", "environment": {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, "model_config": config,
        **more,
    }  # fmt: skip


def stat(ticks):
    return f"7 (a b) c) S {' '.join(['0'] * 18)} {ticks} 0\n"


class CollectedHost:
    """The tree; ``answers`` are what programs say, by their names: a text, (status, text), or an error to raise."""

    def __init__(self, root: Path):
        self.root = root
        self.answers = {"systemctl": self.shown()}
        self.asked = []
        self.now = NOW
        self.write("proc/sys/kernel/random/boot_id", f"{BOOT}\n")
        self.write("var/lib/prometheus/node-exporter/other.prom", "")
        self.write("var/lib/tfserving-collector/.keep", "")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text) if isinstance(text, bytes) else file.write_text(text, encoding="utf-8")
        return file

    def plan(self, *instances, **more):
        paths = {"models": "/var/lib/tfserving/models", "config": "/etc/tfserving"}
        plan = {"schema": 1, "server": {"version": "2.19.1"}, "paths": paths, "gate": None, **more}
        self.write("etc/tfserving/plan.json", json.dumps({**plan, "instances": list(instances) or [instance()]}))

    def shown(self, pid=7, restarts=2, state="active", name="ranker"):
        return f"MainPID={pid}\nNRestarts={restarts}\nId=tfserving@{name}.service\nActiveState={state}\n"

    def serve(self, pid=7, ticks=500, rss_kb=2048, mapped="libjemalloc.so.2", cpus="2-3", digest="0123456789ab"):
        """Put the process of the instance in place."""
        self.answers["systemctl"] = self.shown(pid)
        home = f"proc/{pid}"
        status = f"Name:\tx\nVmRSS:\t  {rss_kb} kB\nVmSwap:\t  4 kB\nThreads:\t2\nCpus_allowed_list:\t{cpus}\n"
        self.write(f"{home}/stat", stat(ticks))
        self.write(f"{home}/status", status)
        self.write(f"{home}/limits", "Limit  Soft  Hard  Units\nMax open files            1024      4096     files\n")
        self.write(f"{home}/environ", f"SECRET=x\0TFSERVING_CONFIGURATION={digest}-r1\0")
        self.write(f"{home}/maps", f"7f r-xp 1 /usr/lib/{mapped}\n7f r-xp 1 /usr/lib/libc.so.6\n")
        self.write(f"{home}/fd/0", "")
        self.write(f"{home}/cgroup", f"0::/{GROUP}\n")
        for thread in (pid, pid + 1):
            self.thread(pid, thread, cpus=cpus)
        self.write("proc/uptime", "1000.00 900.00\n")
        self.write("proc/mounts", "c /sys/fs/cgroup cgroup2 rw 0 0\n")
        self.write("sys/devices/system/cpu/online", "0-3\n")

    def thread(self, pid, thread, run=1_000_000_000, wait=500_000_000, cpus="2-3"):
        self.write(f"proc/{pid}/task/{thread}/schedstat", f"{run} {wait} 9\n")
        self.write(f"proc/{pid}/task/{thread}/status", f"Cpus_allowed_list:\t{cpus}\n")

    def run(self, arguments, data=b"", seconds=0.0, most=0):
        self.asked.append((arguments, data))
        answer = self.answers.get(arguments[0])
        if answer is None:
            raise programs.ProgramError(f"{arguments[0]} could not be started (No such file or directory)")
        answer = answer(arguments, data) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, tuple) else (0, answer)

    @property
    def state_path(self):
        return self.root / "var/lib/tfserving-collector/state.json"

    def host(self):
        return Host(Tree(str(self.root)), State(str(self.state_path), BOOT), self.now, self.run)

    def read(self, part):
        """Return the lines of a part's samples, which is then remembered for the next run."""
        host = self.host()
        try:
            return lines(part.read(host))
        finally:
            host.state.save()


def lines(samples):
    """Return samples as lines of the file, without comments."""
    return [line for line in exposition.text(samples).splitlines() if not line.startswith("#")]
