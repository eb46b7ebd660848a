# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The search by Optuna: a tree-structured Parzen estimator (TPE) proposes, where the package is installed.

Each proposal is worked out from all that was measured, with a sampler of its own seed, so a run that resumes gets the
same ones. Optuna is imported on the controller, when it is wished.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from . import climb, physics
from .physics import Site
from .search import Propose
from .space import Setting

ENGINES = ("standard", "optuna")
MISSING = (
    "Optuna is not installed on the controller, so the standard search was used; to use Optuna, install the package"
    " optuna for the Python that runs Ansible"
)
# Proposals to look at for one that is legal and new.
ATTEMPTS = 50
# From so many measured settings on, TPE follows them; before that it draws at random. The seeds alone are as many.
STARTUP = 4
TIMEOUTS = (0.0, 0.02, 0.05, 0.1)
ROOMS = (0.5, 1.0, 2.0)


def chosen(engine: str) -> tuple[Propose, list[str]]:
    """Return the function that proposes, and remarks: the standard search stands in where Optuna is not installed."""
    if engine not in ENGINES:
        raise WishError("engine", "is not a way to search", f"choose one of {', '.join(ENGINES)}")
    if engine == "standard":
        return climb.propose, []
    try:
        importlib.import_module("optuna")
    except ImportError:
        return climb.propose, [MISSING]
    return propose, []


def propose(
    site: Site, measured: Sequence[tuple[Setting, float]], tried: Collection[Setting], seed: int
) -> Setting | None:
    """Return the next setting, or None when nothing legal and new was proposed."""
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = _space(optuna, site)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for setting, knee in measured:
        params = _params(site, setting, space)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=knee))
    for _ in range(ATTEMPTS):
        trial = study.ask(space)
        legal = site.legal(_setting(site, trial.params))
        if not isinstance(legal, WishError) and legal not in tried:
            return legal
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return None


def _space(optuna: Any, site: Site) -> dict[str, Any]:
    """Return the distribution of each axis; a size of 0 serves request by request."""
    choose = optuna.distributions.CategoricalDistribution
    whole = optuna.distributions.IntDistribution
    return {
        "size": choose([0, *physics.sizes(site, runs=1)]),
        "timeout": choose(list(TIMEOUTS)),
        "threads": whole(1, site.machine.cpus),
        "room": choose(list(ROOMS)),
        "intra_op": whole(1, max(1, site.machine.cpus - 1)),
    }


def _setting(site: Site, params: Mapping[str, Any]) -> Setting:
    """Return the setting of a point of the space."""
    found = site.single
    if params["size"]:
        timeout = int(params["timeout"] * site.load.slo_us)
        found = physics.shaped(site, params["size"], timeout, params["threads"], params["room"])
    whole = max(2, site.machine.cpus)
    return dataclasses.replace(found, intra_op=params["intra_op"], inter_op=whole - params["intra_op"])


def _params(site: Site, setting: Setting, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point of the space that is nearest to a setting."""
    sizes: Sequence[int] = space["size"].choices
    intra = min(max(1, setting.intra_op), max(1, site.machine.cpus - 1))
    batches = setting.batches
    if batches is None:
        return {"size": 0, "timeout": 0.0, "threads": 1, "room": 1.0, "intra_op": intra}
    share = batches.batch_timeout_micros / site.load.slo_us
    usual = physics.shaped(
        site, batches.max_batch_size, batches.batch_timeout_micros, batches.num_batch_threads
    ).batches
    room = batches.max_enqueued_batches / usual.max_enqueued_batches if usual else 1.0
    return {
        "size": min(
            (each for each in sizes if each or len(sizes) == 1), key=lambda each: abs(each - batches.max_batch_size)
        ),
        "timeout": min(TIMEOUTS, key=lambda each: abs(each - share)),
        "threads": min(batches.num_batch_threads, site.machine.cpus),
        "room": min(ROOMS, key=lambda each: abs(each - room)),
        "intra_op": intra,
    }
