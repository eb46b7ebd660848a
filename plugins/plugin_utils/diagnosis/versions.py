# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an instance says of its models' versions, and what the plan and its files say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .case import Case
from .instance import Instance
from .reading import at, listed, mapping, number, text

# A changed file is read within some seconds (model_config_file_poll_wait_seconds), and a version found within one more.
SETTLED_S = 60.0
CHANGING = "its configuration changes just now"
_FINE = frozenset({"", "OK", "0", "None"})


class State(NamedTuple):
    """A version as the server reports it; ``code`` is empty unless it failed."""

    version: int
    state: str
    code: str
    message: str


def models(instance: Instance) -> list[str]:
    """Return the models that it should serve or reports, planned ones first."""
    planned = [text(each) for each in listed(instance.plan.get("models"))]
    found = mapping(instance.evidence.get("models"))
    return [name for name in dict.fromkeys([*planned, *found]) if name]


def states(instance: Instance, model: str) -> list[State] | None:
    """Return the versions that the server knows of a model, None where it did not say."""
    rows = at(instance.evidence, "models", model, "states")
    if not isinstance(rows, (list, tuple)) or text(at(instance.evidence, "models", model, "error")):
        return None
    return [_state(mapping(row)) for row in rows]


def _state(row: Mapping[str, Any]) -> State:
    code = str(row.get("error_code") or "")
    return State(
        whole(row.get("version")), text(row.get("state")), "" if code in _FINE else code, text(row.get("error_message"))
    )


def whole(value: Any) -> int:
    """Return a version's number, 0 for what is none."""
    told = str(value)
    return int(told) if told.isdigit() and len(told) <= 19 else 0


def available(instance: Instance, model: str) -> frozenset[int] | None:
    """Return the versions that serve, None where the server did not say."""
    found = states(instance, model)
    return None if found is None else frozenset(each.version for each in found if each.state == "AVAILABLE")


def config(instance: Instance, model: str) -> Mapping[str, Any]:
    """Return the planned entry of a model in the file of models."""
    rows = listed(at(instance.plan, "model_config", "model_config_list", "config"))
    return next((row for row in map(mapping, rows) if row.get("name") == model), {})


def wanted(instance: Instance, model: str) -> frozenset[int]:
    """Return the versions that the plan names, none where it serves the latest ones."""
    named = listed(at(config(instance, model), "model_version_policy", "specific", "versions"))
    return frozenset(map(whole, named)) - {0}


def labels(instance: Instance, model: str) -> dict[str, int]:
    """Return the planned labels with their versions."""
    return {
        str(label): whole(number) for label, number in mapping(config(instance, model).get("version_labels")).items()
    }


def on_disk(instance: Instance, model: str) -> Mapping[str, Any] | None:
    """Return the versions in a model's directory with what is known of each, None where it was not read."""
    found = at(instance.evidence, "model_files", model, "versions")
    return found if isinstance(found, Mapping) else None


def is_being_told(case: Case, instance: Instance, model: str, version: int) -> bool:
    """Tell whether the server may not have heard of a version yet, or the plan has become another meanwhile.

    A server looks at its file of models every few seconds, and a promotion changes the file before the labels are read.
    """
    if at(case.evidence, "collector", "plan_changed"):
        return True
    now, written = case.latest("at"), number(at(instance.evidence, "files_changed", "models.config"))
    is_young = now is not None and written is not None and now - written < SETTLED_S
    known = {each.version: each for each in states(instance, model) or ()}
    # One that has ended is one that the server was told of.
    return is_young and (version not in known or known[version].state == "AVAILABLE")


def is_moved_by_rollouts(case: Case, model: str) -> bool:
    """Tell whether roll-outs move a model's versions, so that hosts may differ for a while."""
    rows = map(mapping, listed(at(case.plan, "models")))
    row = next((each for each in rows if each.get("name") == model), {})
    return any(key in row for key in ("waits", "protected", "proofs", "rollout"))
