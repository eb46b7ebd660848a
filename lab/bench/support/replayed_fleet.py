# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet of made-up hosts, each of which answers as a lab host has answered once; what a run for them costs."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from support import lab_host

FORKS = 50


@dataclass(frozen=True)
class Cost:
    """What a run took, the start of Ansible included: CPU seconds, the peak of memory, and what was done for a host."""

    hosts: int
    main: float
    workers: float
    peak_mib: float
    tasks: int
    calls: float

    @property
    def cpu(self) -> float:
        """CPU seconds of the main process and its workers."""
        return self.main + self.workers


def keep_answers(folder: Path, playbook: str, *arguments: str) -> None:
    """Run a playbook on the lab host, and keep what the host answers."""
    folder.mkdir(parents=True, exist_ok=True)
    _, events = lab_host.recorded("ansible-playbook", playbook, "-l", lab_host.HOST, *arguments, answers=folder)
    stats = next(event["hosts"][lab_host.HOST] for event in events if event["event"] == "stats")
    if stats["changed"] or stats["failures"]:
        raise SystemExit(f"{playbook} changed something on {lab_host.HOST}; run it alone and measure again")


def play(answers: Path, hosts: int, playbook: str, *arguments: str) -> Cost:
    """Run a playbook for made-up hosts."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as place:
        inventory = lay_out(Path(place), hosts)
        _, events = lab_host.recorded(
            "ansible-playbook", playbook, "--forks", str(FORKS), *arguments, answers=answers, inventory=inventory
        )
    return cost(events, hosts)


def lay_out(folder: Path, hosts: int) -> Path:
    """Write an inventory with the wishes of the lab's; the addresses of its containers are those of none here."""
    variables = {
        "ansible_connection": "simulated",
        "ansible_python_interpreter": "/usr/bin/python3",
        "tfserving_address": "192.0.2.1",
        "lab_gateway": "192.0.2.254",
    }
    # Variables of hosts: those of groups would yield to the lab's own, which run programs on this machine.
    names = {f"replayed-{number:04d}": variables for number in range(hosts)}
    (folder / "group_vars").symlink_to(lab_host.INVENTORY / "group_vars")
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"children": {"tfserving": {"hosts": names}}}}))
    return inventory


def cost(events: Sequence[dict[str, Any]], hosts: int) -> Cost:
    """Read what a run has recorded; of the hosts, the one in the middle counts."""
    stats = next(event for event in events if event["event"] == "stats")
    wrong = [host for host, ended in stats["hosts"].items() if ended["failures"] or ended["changed"]]
    if wrong:
        raise SystemExit(f"on {len(wrong)} of {hosts} hosts the run changed something or failed, {wrong[0]} for one")
    tasks = Counter(event["host"] for event in events if event["event"] == "fork" and not event["once"])
    calls = sum(event["event"] == "module" and event["transport"] == "simulated" for event in events)
    return Cost(hosts, stats["main"], stats["workers"], stats["peak"], median_low(tasks.values()), calls / hosts)
