# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A trial's settings as the host gets them: the server's arguments and the files that they name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..planner.schema import InstancePlan
from ..server import flags, textproto
from . import ways

MODULE = "tfserving.fleet.instance_trial"
# Where the module keeps the files of a trial.
FOLDER = "/run/tfserving-trial/{instance}"
BATCHING, MODELS = "batching.config", "models.config"
# What a usual stage and a few slow answers take at most; each stage postpones the end of the trial.
LEAST_EXPIRES_S = 900


class Own(NamedTuple):
    """Versions of a trial of its own: ``real`` has the version of each model whose files they share."""

    number: int
    real: Mapping[str, int]


def present(plan: InstancePlan, owner: str, expires_s: int, own: Own | None = None) -> dict[str, Any]:
    """Return the module's arguments that put an instance's plan in force as a trial.

    With ``own`` its batches are told by a file in versions of the trial's own, so that the next setting may need no
    restart. The planner has asked for the permission to use releases that nobody surveyed, so it is given here.
    """
    version, batching = plan["server"]["version"], plan["batching"]
    folder = FOLDER.format(instance=plan["name"])
    changed, files, versions = dict(plan["flags"]), {}, []
    if batching:
        changed["batching_parameters_file"] = f"{folder}/{BATCHING}"
        files[BATCHING] = _text("BatchingParameters", batching, version)
    if batching and own:
        changed |= {"model_config_file": f"{folder}/{MODELS}", ways.FLAG: True}
        files[BATCHING] = _text("BatchingParameters", _shared(batching), version)
        files[MODELS] = _text("ModelServerConfig", _models(plan, folder), version)
        versions = _versions(plan, own, version)
    return {
        "instance": plan["name"],
        "state": "present",
        "owner": owner,
        "arguments": flags.arguments(changed, version, allow_unsurveyed=True),
        "files": files,
        "versions": versions,
        "expires_s": expires_s,
    }


def _text(message: str, data: Mapping[str, Any], version: str) -> str:
    return textproto.render(data, message, version=version, allow_unsurveyed=True)


def _shared(batching: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the global file has beside versions with files of their own, the same for all of them.

    Its size is none that is tried, so that a server which read no version's file would be found out.
    """
    return {"max_batch_size": 1, **{name: batching[name] for name in ways.SHARED if name in batching}}


def _models(plan: InstancePlan, folder: str) -> dict[str, Any]:
    """Return the models with the base paths of the trial, of which the server serves the latest version."""
    kept = ("name", "model_platform")
    configs = [
        {**{name: each[name] for name in kept if name in each}, "base_path": f"{folder}/models/{each['name']}"}
        for each in plan["model_config"]["model_config_list"]["config"]
    ]
    return {"model_config_list": {"config": configs}}


def _versions(plan: InstancePlan, own: Own, version: str) -> list[dict[str, Any]]:
    batching: Mapping[str, Any] = plan["batching"] or {}
    told = {name: value for name, value in batching.items() if name not in ways.SHARED}
    files = {ways.FILE: _text("BatchingParameters", told, version)}
    largest = batching["max_batch_size"]
    return [
        {"model": model, "version": own.real[model], "as": own.number, "files": files, "max_batch_size": largest}
        for model in plan["models"]
    ]


def expires_s(stage_s: float) -> int:
    """Return the seconds until a trial of stages of ``stage_s`` ends by itself."""
    return max(LEAST_EXPIRES_S, math.ceil(2 * stage_s))


def renewed(instance: str, owner: str, expires_s: int) -> dict[str, Any]:
    """Return the module's arguments that postpone the end of a trial."""
    return {"instance": instance, "state": "renewed", "owner": owner, "expires_s": expires_s}


def absent(instance: str, owner: str) -> dict[str, Any]:
    """Return the module's arguments that bring the plan's settings back."""
    return {"instance": instance, "state": "absent", "owner": owner}
