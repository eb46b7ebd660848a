# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Roll-outs under way, from what hosts and gateways remember of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .host import Host
from .sample import Samples, sample

FOLDER = "var/lib/tfserving-fleet/rollout"
# plugin_utils/rollout/state.py, which the controller alone has: the stages that something follows, and those of them in
# which no share is the new version's.
UNDER_WAY = ("prepare", "canary", "share", "rest", "reverting")
_WITHOUT_SHARE = ("prepare", "canary", "reverting")


def applies(host: Host) -> bool:
    """Return whether the host remembers any roll-out."""
    return any(name.endswith(".json") for name in host.tree.names(FOLDER))


def read(host: Host) -> Samples:
    """Yield the samples."""
    # Only on hosts with a record.
    from ..models import rollout_record

    for model, state in rollout_record.states((), host.tree.path(FOLDER)).items():
        stage = state.get("stage")
        if stage in UNDER_WAY:
            old, new = str(state["old"]), str(state.get("new", ""))
            yield sample("rollout_info", 1, model=model, state=stage, old=old, new=new)
            yield sample("rollout_share_ratio", share(state), model=model)


def share(state: Mapping[str, Any]) -> float:
    """Return the share of the calls that the new version is to have, from 0 to 1."""
    if state.get("is_share_zero") or state["stage"] in _WITHOUT_SHARE:
        return 0.0
    if state["stage"] == "rest":
        return 1.0
    steps, step = state.get("steps"), state.get("step")
    is_known = isinstance(steps, list) and isinstance(step, int) and 0 <= step < len(steps)
    percent = steps[step] if isinstance(steps, list) and isinstance(step, int) and is_known else 0
    return percent / 100 if isinstance(percent, int) else 0.0
