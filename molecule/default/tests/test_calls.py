# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run without a change asks of a host: each call costs a connection and the start of Python there."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

# Of the scenario's second run: each costs a process on the controller for each host, whether it is skipped or not. One
# more wants a reason in the commit's message.
TASKS = 40

OURS = "tfserving.fleet."

# Of the scenario's second run. A call more wants a reason in the commit's message; one less lowers CALLS_TARGET of
# lab/bench/no_change_site.py too.
CALLS = {
    OURS + "run_lock": 1,  # more where the run before is still giving the lock back
    OURS + "nvidia_driver_state": 1,
    OURS + "host_topology": 1,
    "ansible.legacy.command": 1,  # of jemalloc_trial
    OURS + "model_repository": 1,
    OURS + "kernel_settings": 1,
    OURS + "template_tree": 4,  # kernel, CPUs, apt, instances
    OURS + "cpu_partition": 1,
    OURS + "server_state": 1,
    OURS + "signing_key": 1,
    OURS + "serving_instances": 1,
}


def last_run() -> list[dict]:
    """Return what lab/bench/callbacks/bench_record.py has written down of the playbook that ran last."""
    text = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "calls.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    starts = [number for number, event in enumerate(events) if event["event"] == "start"]
    return events[starts[-1] :]


def test_a_run_without_a_change_has_no_more_tasks_for_a_host_than_it_needs(host):
    name = host.backend.get_hostname()
    tasks = [
        each["task"] for each in last_run() if each["event"] == "fork" and each["host"] == name and not each["once"]
    ]
    assert len(tasks) <= TASKS, tasks


def test_a_run_without_a_change_calls_no_more_modules_than_it_needs(host):
    events = last_run()
    (ended,) = (each for each in events if each["event"] == "stats")
    assert {name: stats["changed"] for name, stats in ended["hosts"].items() if name != "localhost"} == {
        host.backend.get_hostname(): 0
    }, "the last run has changed something: run `molecule idempotence` first"
    calls = Counter(each["name"] for each in events if each["event"] == "module" and each["transport"] != "local")
    assert {**calls, OURS + "run_lock": min(calls[OURS + "run_lock"], 1)} == CALLS
