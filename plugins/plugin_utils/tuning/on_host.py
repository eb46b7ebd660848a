# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A trial's settings as the host gets them: the server's arguments and the files that they name."""

from __future__ import annotations

import math
from typing import Any

from ..planner.schema import InstancePlan
from ..server import flags, textproto

MODULE = "tfserving.fleet.instance_trial"
# Where the module keeps the files of a trial.
FOLDER = "/run/tfserving-trial/{instance}"
BATCHING = "batching.config"
# What a usual stage and a few slow answers take at most; each stage postpones the end of the trial.
LEAST_EXPIRES_S = 900


def present(plan: InstancePlan, owner: str, expires_s: int) -> dict[str, Any]:
    """Return the module's arguments that put an instance's plan in force as a trial.

    The planner has asked for the permission to use releases that nobody surveyed, so it is given here.
    """
    version, batching = plan["server"]["version"], plan["batching"]
    changed, files = dict(plan["flags"]), {}
    if batching:
        changed["batching_parameters_file"] = f"{FOLDER.format(instance=plan['name'])}/{BATCHING}"
        files[BATCHING] = textproto.render(batching, "BatchingParameters", version=version, allow_unsurveyed=True)
    return {
        "instance": plan["name"],
        "state": "present",
        "owner": owner,
        "arguments": flags.arguments(changed, version, allow_unsurveyed=True),
        "files": files,
        "expires_s": expires_s,
    }


def expires_s(stage_s: float) -> int:
    """Return the seconds until a trial of stages of ``stage_s`` ends by itself."""
    return max(LEAST_EXPIRES_S, math.ceil(2 * stage_s))


def renewed(instance: str, owner: str, expires_s: int) -> dict[str, Any]:
    """Return the module's arguments that postpone the end of a trial."""
    return {"instance": instance, "state": "renewed", "owner": owner, "expires_s": expires_s}


def absent(instance: str, owner: str) -> dict[str, Any]:
    """Return the module's arguments that bring the plan's settings back."""
    return {"instance": instance, "state": "absent", "owner": owner}
