# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run knows of a roll-out, out of Ansible's variables and what modules have answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk.plain_files import fits
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..planner import in_force
from ..wishes import policy as plan_policy
from ..wishes import read
from .course import Fleet
from .state import from_json

# Of the words of a module that has failed.
_LONGEST = 300

Answers = Mapping[str, Mapping[str, Any]]


def states(model: str, answers: Answers) -> dict[str, dict[str, Any]]:
    """Return what each host has recorded of a model; ``answers`` are results of the module rollout_state, by host.

    Raises WishError for what that module cannot have returned.
    """
    found = {host: (answer.get("states") or {}).get(model) for host, answer in answers.items()}
    for host, state in found.items():
        if state is not None and not fits(state, rollout_record.SHAPE):
            path = f"{rollout_record.FOLDER}/{model}.json"
            raise WishError(path, f"is damaged on {host}", rollout_record.REMEDY)
    return {host: state for host, state in found.items() if state is not None}


def known(own: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    """Return for each model the state that a gateway goes by: its own, or one that serving hosts have and that wins.

    ``answers`` are results of the module rollout_state. A damaged one of a host says nothing; others have it too.
    """
    found = dict(own)
    for answer in answers.values():
        for model, state in (answer.get("states") or {}).items():
            mine = found.get(model)
            # A damaged one of its own is left to whoever reads it.
            is_damaged = mine is not None and not fits(mine, rollout_record.SHAPE)
            if is_damaged or not _is_sound(model, state):
                continue
            if mine is None or rollout_record.age(state) > rollout_record.age(mine):
                found[model] = state
    return found


def _is_sound(model: str, state: Any) -> bool:
    try:
        return fits(state, rollout_record.SHAPE) and from_json(state).model == model
    except ValueError:
        return False


def refuse_failed(answers: Answers) -> None:
    """Raise WishError for a host that has failed to record its state.

    The others would go on without it: Ansible has it wait for them before anybody learns of it.
    """
    for host, answer in answers.items():
        if answer.get("failed"):
            words = told(str(answer.get("msg") or "the module has failed"), _LONGEST)
            raise WishError(host, words, "repair that and run the playbook again")


def models(answers: Answers) -> list[str]:
    """Return the models of which a host has recorded anything."""
    return sorted({model for answer in answers.values() for model in answer.get("states") or {}})


def wishes(hosts: Iterable[str], variables: Mapping[str, Mapping[str, Any]]) -> dict[str, read.Wishes]:
    """Return the wishes of each host. Raises WishErrors for the first host whose wishes are wrong."""
    policy = plan_policy.complete(None)
    known: dict[str, read.Wishes] = {}
    found = {}
    for host in hosts:
        instances, models = (variables[host].get(name) or [] for name in (read.INSTANCES, read.MODELS))
        # Most hosts of a fleet have the same.
        key = repr((instances, models))
        known[key] = known.get(key) or read.read(instances, models, policy)
        found[host] = known[key]
    return found


def serving(model: str, plans: Mapping[str, Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the hosts whose plan in force serves a model, each with the versions."""
    served = {host: in_force.of_plan(plan).get(model) for host, plan in plans.items()}
    return {host: each["versions"] for host, each in served.items() if each}


def fleet(
    model: str,
    wished: Mapping[str, read.Wishes],
    plans: Mapping[str, Mapping[str, Any]],
    gateways: Sequence[str],
    down: Collection[str],
    limit: Collection[str] | None,
    serial: Any,
) -> Fleet:
    """Return what a run knows of the hosts; ``plans`` are those in force, ``serial`` is ``fleet_serial``."""
    wanted = {host: [each.name for each in wishes.instances if model in each.models] for host, wishes in wished.items()}
    sizes = list(serial) if isinstance(serial, (list, tuple)) else [serial]
    return Fleet(wanted, serving(model, plans), gateways, down, limit, sizes)
