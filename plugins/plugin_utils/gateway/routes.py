# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The maps by which a call finds its backend: which models there are, which versions some hosts lack, which shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..phrases import joined
from . import adopted
from .backends import Group
from .schema import Arm, Maps, Rollout

# Both arms get the same share, so the canary's neighbours keep the rest only up to here.
HALF = 500


def maps(groups: Mapping[str, Sequence[Group]], rollouts: Mapping[str, Rollout]) -> Maps:
    """Return the content of the maps."""
    return {
        "models": list(groups),
        "routes": {
            f"{model}/{'versions' if group.arm == 'version' else 'labels'}/{_value(group)}": group.end
            for model, some in groups.items()
            for group in some
            if group.arm in ("version", "label")
        },
        # Every model has its line: a share is changed in place while HAProxy runs.
        "shares": {model: rollouts[model]["permille"] if model in rollouts else 0 for model in groups},
    }


def _value(group: Group) -> str:
    return group.end.removeprefix("_v" if group.arm == "version" else "_label_")


def arms(groups: Mapping[str, Sequence[Group]], protocols: Sequence[str]) -> list[Arm]:
    """Return the arms of all roll-outs. While one has no server, its calls go to the others: none may fail for it."""
    return [
        {
            "protocol": protocol,
            "model": model,
            "arm": group.arm,
            "backend": f"{protocol}_{model}{group.end}",
            "others": f"{protocol}_{model}",
            "is_old": group.is_old,
            "least": adopted.least(len(group.members)) if group.is_old else 1,
        }
        for protocol in protocols
        for model, some in groups.items()
        for group in some
        if group.arm in ("canary", "control")
    ]


def warnings(groups: Mapping[str, Sequence[Group]], rollouts: Mapping[str, Rollout], mode: str) -> list[str]:
    """Return what a roll-out cannot do here."""
    said = []
    for model, rollout in rollouts.items():
        there = {group.arm for group in groups[model]}
        path = f"rollouts.{model}"
        if rollout["canary"] and rollout["control"] and rollout["permille"] > HALF:
            left = 1000 - rollout["permille"]
            said.append(f"{path}: the control arm gets {left} of 1000 calls, as the canary gets {rollout['permille']}")
        if "canary" in there and "control" not in there:
            said.append(f"{path}: no host is left for a control arm, so the canary is compared with all other hosts")
        if mode == "tcp":
            said.append(f"{path}: gRPC calls are not divided, as gateway_grpc_mode tcp passes connections on whole")
    return said


def unserved(wanted: Mapping[str, Sequence[str]], served: Mapping[str, object]) -> list[str]:
    """Warn of models that hosts hold and no instance serves; ``wanted`` has the hosts of each model."""
    return [
        f"{model}: no instance serves it ({joined(hosts)} hold it), so calls for it are answered 404"
        for model, hosts in sorted(wanted.items())
        if model not in served
    ]
