# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps by which a running server is given a changed models file.

The server checks labels before it loads anything, and a label in use may only move to a loaded version. It therefore
never accepts a file that adds a version and moves a label to it at once: the version has to come first.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

Instance = Mapping[str, Any]


def config_steps(before: Sequence[Instance], after: Sequence[Instance]) -> list[list[Instance]]:
    """Return the instances to write in each step: ``after`` alone, or a bridge from ``before`` first.

    An instance that is restarted anyway has no labels in use and needs no bridge.
    """
    after = list(after)
    running = {instance["name"]: instance for instance in before}
    bridge = [_bridge(running.get(instance["name"]), instance) for instance in after]
    return [after] if _same(bridge, after) else [bridge, after]


def _bridge(before: Instance | None, after: Instance) -> Instance:
    """Return ``after`` with moving labels still in their old places, or the same object if none moves."""
    # A record of another release may lack keys; then there is nothing to build on.
    if before is None or before.get("digest") != after["digest"]:
        return after
    present = {config["name"]: config for config in _configs(before)}
    configs = _configs(after)
    kept = [_with_labels(present.get(config["name"]), config) for config in configs]
    if _same(kept, configs):
        return after
    return {**after, "model_config": {"model_config_list": {"config": kept}}}


def _with_labels(before: Mapping[str, Any] | None, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``config`` with moving labels still in their old places, and the versions they are on."""
    here, there = (before or {}).get("version_labels") or {}, config.get("version_labels") or {}
    moving = {label: here[label] for label, version in there.items() if here.get(label, version) != version}
    if not moving:
        return config
    versions = sorted({*config["model_version_policy"]["specific"]["versions"], *moving.values()})
    return {
        **config,
        "version_labels": {**there, **moving},
        "model_version_policy": {"specific": {"versions": versions}},
    }


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two lists hold the same objects. Ansible's data is expensive to compare, and more so to copy."""
    return all(map(operator.is_, some, others))


def _configs(instance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(((instance.get("model_config") or {}).get("model_config_list") or {}).get("config") or [])
