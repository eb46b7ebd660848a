# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The conditions of a measurement that a host can tell: two results are comparable where these agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import cpu_list
from ..host.sysfs import Tree
from ..serving.units import InstanceUnit
from ..visible_text import told
from . import cpus as cpu_facts
from .samples import cpus_of, versions

# A server's command line has some dozens of flags.
MOST_FLAGS = 200
LONGEST_FLAG = 4096
LONGEST_TEXT = 200


def conditions(tree: Tree, plan: Mapping[str, Any], instance: Mapping[str, Any], unit: InstanceUnit) -> dict[str, Any]:
    """Return the conditions of one instance, an entry of ``plan``; null where the host does not tell."""
    cpus = cpus_of(tree, instance, unit.pid)
    follows_plan = unit.running_mark.startswith(f"{instance['digest']}-")
    return {
        # A process with other settings than the plan's has their mark: results of the two are not comparable.
        "plan_digest": instance["digest"] if follows_plan else told(unit.running_mark, LONGEST_TEXT) or None,
        "server_version": plan.get("server", {}).get("version"),
        "server_id": instance.get("server", {}).get("id"),
        "model_versions": versions(instance),
        "cpu": _text(cpu_facts.model(tree)),
        "cpus": cpu_list.format(cpus) or None,
        "governor": _text(cpu_facts.governor(tree, cpus)),
        "mhz": cpu_facts.mhz(tree, cpus),
        "clocksource": _text(tree.text("sys/devices/system/clocksource/clocksource0/current_clocksource")),
        "kernel": _text(tree.text("proc/sys/kernel/osrelease")),
        "boost": cpu_facts.boost(tree),
        "settings": {
            "flags": dict(instance.get("flags", {})) if follows_plan else _flags(tree, unit.pid),
            "batching": instance.get("batching") if follows_plan else None,
        },
    }


def _text(text: str | None) -> str | None:
    return told(text, LONGEST_TEXT) if text else None


def _flags(tree: Tree, pid: int) -> dict[str, str]:
    """Return the flags of a running server as its command line has them."""
    words = (tree.text(f"proc/{pid}/cmdline") or "").split("\0") if pid else []
    pairs = (told(word[2:], LONGEST_FLAG).partition("=") for word in words[:MOST_FLAGS] if word.startswith("--"))
    return {name: value for name, _equals, value in pairs}
