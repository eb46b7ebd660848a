# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wishes of a host, `tfserving_models` and `tfserving_instances`, checked and normalised.

``read`` returns them or refuses everything that is wrong at once; ``problems`` lists the same refusals as sentences.
Nothing here knows the hardware: the planner decides what a host can grant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals, WishErrors, sentences

from . import bounds as wish_bounds
from . import instances as wish_instances
from . import models as wish_models
from . import policy as plan_policy
from . import tuned
from .instances import INSTANCES, InstanceWish
from .models import MODELS, ModelWish

__all__ = ["INSTANCES", "MODELS", "InstanceWish", "ModelWish", "Wishes", "problems", "read"]


@dataclass
class Wishes:
    """All wishes of one host."""

    instances: list[InstanceWish]
    models: dict[str, ModelWish]
    warnings: list[str]


def read(instances: Any, models: Any, policy: Mapping[str, Any]) -> Wishes:
    """Return the checked wishes.

    ``instances`` and ``models`` are the users' variables; ``policy`` is complete (plan_policy.complete). Raise
    WishErrors with everything that is wrong.
    """
    refusals = Refusals()
    for variable, value in ((MODELS, models), (INSTANCES, instances)):
        refusals.check(wish_bounds.check, variable, value)
    refusals.stop()
    known = wish_models.read(models, refusals)
    names = [model.name for model in known if model.name]
    wanted = wish_instances.read(instances, names, policy, refusals)
    refusals.stop()
    untuned = tuned.merge(wanted, policy["tuned"])
    warnings = [*_unserved(wanted, known), *wish_models.warnings(known), *wish_instances.warnings(wanted), *untuned]
    return Wishes(wanted, {model.name: model for model in known}, warnings)


def problems(instances: Any, models: Any, policy: Mapping[str, Any] | None = None) -> list[str]:
    """Return every refusal as a sentence, ``path: problem; remedy``; the list is empty if all is well."""
    try:
        read(instances, models, plan_policy.complete(policy))
    except WishErrors as several:
        return sentences(several)
    return []


def _unserved(instances: list[InstanceWish], models: list[ModelWish]) -> list[str]:
    served = {name for instance in instances for name in instance.models}
    return [
        f"{model.path}: no instance of this host serves '{model.name}'; add it to the models of one, or remove it"
        for model in models
        if model.name not in served
    ]
