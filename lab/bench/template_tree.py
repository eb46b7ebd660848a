# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Unchanged files by template_tree against the same files by a looped ansible.builtin.template."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from support import figures, lab_host

# Files: rounds. A round of 100 files takes the loop a minute, and its sheer length evens out what disturbs it.
ROUNDS = {1: 5, 5: 5, 20: 5, 100: 2}
TARGET_FILES = 20
TARGET = 8  # times faster

PLACE = "/var/lib/fleet-bench"
TREE, LOOP = "By the tree", "By the loop"
FIRST = "The first time: "  # writes the files; the rounds after it find them unchanged

# As large as what the collection's own roles lay down, with a variable, a loop and a condition.
TEMPLATE = """\
# {{ ansible_managed }}
[Unit]
Description=Service number @ of {{ inventory_hostname }}

[Service]
{% for name, value in settings.items() %}
Environment={{ name }}={{ value }}
{% endfor %}
{% if settings | length > 4 %}
LimitNOFILE={{ limit }}
{% endif %}
ExecStart=/usr/bin/example --number=@ \\
    --limit={{ limit }} \\
    --host={{ inventory_hostname }}
Restart=on-failure
"""
VARIABLES = {"settings": {f"SETTING_{number}": number * 7 for number in range(8)}, "limit": 16_384}


def main() -> int:
    lab_host.ready()
    print(figures.machine(), flush=True)
    print(figures.takes("10 minutes"), flush=True)
    measured = {count: measure(count, rounds) for count, rounds in ROUNDS.items()}
    print(report(measured))
    return 0


def measure(count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of the task in each round, by its name; both sides take turns within one run of Ansible."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        playbook = write_playbook(Path(folder), count, rounds)
        try:
            _wall, events = lab_host.recorded("ansible-playbook", playbook)
        finally:
            lab_host.in_host("rm", "--recursive", "--force", PLACE)
    found: dict[str, list[float]] = {TREE: [], LOOP: []}
    for event in events:
        if event["event"] == "task" and event["name"] in found:
            if event["changed"]:
                raise SystemExit(f"a file of {count} was changed where none should be; the figures would mean nothing")
            found[event["name"]].append(event["seconds"])
    return found


def write_playbook(folder: Path, count: int, rounds: int) -> Path:
    """A play with templates beside it: each side once to write the files, then in turns."""
    names = [f"service-{number:03d}.conf" for number in range(count)]
    for number, name in enumerate(names):
        template = folder / "templates" / f"{name}.j2"
        template.parent.mkdir(exist_ok=True)
        template.write_text(TEMPLATE.replace("@", str(number)), encoding="utf-8")
    tasks = [_task(side, names, FIRST + side) for side in (TREE, LOOP)]
    for number in range(rounds):
        sides = (TREE, LOOP) if number % 2 else (LOOP, TREE)
        tasks += [_task(side, names, side) for side in sides]
    play = {
        "name": "Measure",
        "hosts": lab_host.HOST,
        "gather_facts": False,
        "vars": {**VARIABLES, "ansible_managed": "Managed"},
        "tasks": [_folders(), *tasks],
    }
    playbook = folder / "measure.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")  # JSON is YAML
    return playbook


def report(measured: dict[int, dict[str, list[float]]]) -> str:
    rows = []
    for count, sides in measured.items():
        ratios = figures.paired(sides[LOOP], sides[TREE])
        target = figures.verdict(figures.median(ratios), at_least=TARGET) if count == TARGET_FILES else ""
        walls = (figures.seconds(sides[TREE]), figures.seconds(sides[LOOP]))
        rows.append((str(count), len(ratios), *walls, figures.compared(ratios), target))
    title = "Unchanged files on one host: wall seconds of the task, median (min-max) of alternated rounds"
    header = ("files", "rounds", "template_tree s", "looped template s", "times faster", "target")
    return figures.table(title, header, rows)


def _task(side: str, names: list[str], title: str) -> dict[str, Any]:
    if side == TREE:
        options = {
            "name": "fleet-bench",
            "src": "templates",
            "dest": f"{PLACE}/tree",
            "state_path": f"{PLACE}/state",
        }
        return {"name": title, "tfserving.fleet.template_tree": options}
    options = {"src": "{{ item }}.j2", "dest": f"{PLACE}/loop/{{{{ item }}}}", "mode": "0644"}
    return {"name": title, "ansible.builtin.template": options, "loop": names}


def _folders() -> dict[str, Any]:
    options = {"path": "{{ item }}", "state": "directory", "mode": "0755"}
    return {
        "name": "Make room",
        "ansible.builtin.file": options,
        "loop": [f"{PLACE}/tree", f"{PLACE}/loop", f"{PLACE}/state"],
    }


if __name__ == "__main__":
    sys.exit(main())
