# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of site.yml costs that finds nothing to change: calls on the host, and its time in pings."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from support import figures, lab_host

ROUNDS = 5
CALLS_TARGET = 15

Events = list[dict[str, Any]]


def main() -> int:
    lab_host.ready()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes"), flush=True)
    lab_host.ansible("ansible-playbook", "site.yml", "-l", lab_host.HOST)  # what this changes, the rounds need not
    pings, sites, runs = [], [], []
    for number in range(ROUNDS):
        for side in ("ping", "site") if number % 2 else ("site", "ping"):
            if side == "ping":
                pings.append(lab_host.recorded("ansible", lab_host.HOST, "-m", "ansible.builtin.ping")[0])
            else:
                wall, events = lab_host.recorded("ansible-playbook", "site.yml", "-l", lab_host.HOST)
                _insist_on_no_change(events)
                sites.append(wall)
                runs.append(events)
    print(report(pings, sites, runs))
    return 0


def report(pings: list[float], sites: list[float], runs: list[Events]) -> str:
    counts = sorted({sum(_modules(events).values()) for events in runs})
    most = counts[-1]
    commands = max(sum(event["event"] == "command" for event in events) for events in runs)
    ratio = figures.compared(figures.paired(sites, pings))
    rows = [
        ("module calls on the host", " or ".join(map(str, counts)), figures.verdict(most, at_most=CALLS_TARGET)),
        ("commands on the connection", commands, ""),
        ("wall s, site.yml", figures.seconds(sites), ""),
        ("wall s, ansible -m ping", figures.seconds(pings), ""),
        ("site.yml takes as long as ... pings", ratio, ""),
    ]
    title = f"site.yml without a change on one host: median (min-max) of {ROUNDS} alternated rounds"
    most_called = max(runs, key=lambda events: sum(_modules(events).values()))
    modules = [(name, count) for name, count in _modules(most_called).most_common()]
    return "\n".join(
        [
            figures.table(title, ("", "figure", "target"), rows),
            figures.table("The modules that the round with most calls called", ("module", "calls"), modules),
        ]
    )


def _modules(events: Events) -> Counter[str]:
    """Calls on the host by module; a call on the controller needs no connection and does not count."""
    return Counter(event["name"] for event in events if event["event"] == "module" and event["transport"] != "local")


def _insist_on_no_change(events: Events) -> None:
    stats = next(event["hosts"][lab_host.HOST] for event in events if event["event"] == "stats")
    if stats["changed"] or stats["failures"]:
        changed = [event["name"] for event in events if event.get("changed")]
        raise SystemExit(f"site.yml changed something ({', '.join(changed)}); run it alone and measure again")


if __name__ == "__main__":
    sys.exit(main())
