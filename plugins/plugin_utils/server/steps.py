# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps in which a running server takes up a changed models file.

The server checks labels before it loads anything, and a label in use may only move to a version that is loaded. A file
that brings a version and moves a label onto it at once is therefore never taken up: the version has to come first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Instance = Mapping[str, Any]


def config_steps(before: Sequence[Instance], after: Sequence[Instance]) -> list[list[Instance]]:
    """Return the instances to lay down, one list a step: ``after`` alone, or a bridge from ``before`` first.

    An instance that is restarted anyway has no labels in use and needs no bridge.
    """
    running = {instance["name"]: instance for instance in before}
    bridge = [_bridge(running.get(instance["name"]), instance) for instance in after]
    return [list(after)] if bridge == list(after) else [bridge, list(after)]


def _bridge(before: Instance | None, after: Instance) -> Instance:
    # What comes from a record may lack what another release knew nothing of: then there is nothing to build on.
    if before is None or before.get("digest") != after["digest"]:
        return after
    present = {config["name"]: config for config in _configs(before)}
    bridged = copy.deepcopy(dict(after))
    for config in _configs(bridged):
        if config["name"] in present:
            _keep_labels(present[config["name"]], config)
    return bridged


def _keep_labels(before: Mapping[str, Any], config: dict[str, Any]) -> None:
    """Leave the labels of ``config`` that move where they are, and keep the versions that they are on."""
    here, there = before.get("version_labels") or {}, config.get("version_labels") or {}
    moving = {label: here[label] for label, version in there.items() if here.get(label, version) != version}
    if not moving:
        return
    config["version_labels"] = {**there, **moving}
    specific = config["model_version_policy"]["specific"]
    specific["versions"] = sorted({*specific["versions"], *moving.values()})


def _configs(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    return ((instance.get("model_config") or {}).get("model_config_list") or {}).get("config") or []
