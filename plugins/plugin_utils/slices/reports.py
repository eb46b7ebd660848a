# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The reports of all slices as one: what plan.yml and status.yml show, and with what a run that serves ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines

from ..caller import caller, version
from ..report import data, file, groups, markdown, page, status, text
from ..rollout import course, gathered
from . import codes, results
from .command import Order

Say = Callable[[str], None]


def show(order: Order, folder: Path, numbers: Sequence[int], say: Say) -> int:
    """Print what the slices have handed over, and return an exit code."""
    if order.name == "plan":
        return _plan(order, folder, numbers, say)
    found = results.merged(folder, "status", numbers, version())
    if found:
        shown = status.status_table(found["hosts"], _missing(order, found), caller([order.given]))
        say(f"\n{visible_lines(shown.rstrip())}")
    moving = results.merged(folder, "rollouts", numbers, version())
    if moving:
        known = (
            course.newest(model, gathered.states(model, moving["hosts"])) for model in gathered.models(moving["hosts"])
        )
        shown = course.summary(filter(None, known))
        say(f"\n{visible_lines(shown)}" if shown else "")
    return 0


def _missing(order: Order, found: Mapping[str, Any]) -> list[str]:
    """Return the hosts of which nothing is known, those of slices that have handed nothing over included."""
    return [host for host in order.hosts if host not in found["hosts"]]


def _plan(order: Order, folder: Path, numbers: Sequence[int], say: Say) -> int:
    found = results.merged(folder, "plan", numbers, version())
    if not found:
        return 0
    # In the order of the inventory, as without slices.
    hosts = {host: found["hosts"][host] for host in order.hosts if host in found["hosts"]}
    missing = _missing(order, found)
    report = groups.read(hosts, missing)
    say(f"\n{visible_lines(text.text(report, _is_on(order, 'plan_reasons', True)).rstrip())}\n")
    document = data.data(hosts, missing)
    contents: dict[str, Callable[[], str]] = {
        "plan_html": lambda: page.page(report),
        "plan_json": lambda: json.dumps(document, indent=2) + "\n",
        "plan_markdown": lambda: markdown.markdown(report),
    }
    for name, content in contents.items():
        dest = order.extra.get(name, "plan.html" if name == "plan_html" else "")
        if dest:
            say(f"Report: {visible_lines(file.write(dest, content()).as_uri())}")
    changing = document["changing"]
    if _is_on(order, "plan_exit_code", False) and changing:
        say(f"plan_exit_code: {len(changing)} of {len(order.hosts)} hosts would change ({', '.join(changing)})")
        return codes.FAILED
    return 0


def _is_on(order: Order, name: str, default: bool) -> bool:
    value = order.extra.get(name, default)
    return value if isinstance(value, bool) else str(value).lower() in ("true", "yes", "on", "1", "y", "t")
