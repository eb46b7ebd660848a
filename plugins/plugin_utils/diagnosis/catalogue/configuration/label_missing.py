# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A label that callers use points to no version that serves."""

from __future__ import annotations

import re

from ... import said
from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at
from ...verdicts import cleared, percent, proof, unknown
from ...versions import CHANGING, available, is_being_told, labels, models, states

_WORDS = (r"Unrecognized servable version label", r"label .{0,80}not (available|found)")


def judge(case: Case) -> list[Judged]:
    """Judge each instance whose models have labels, or that was asked for one."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    planned = {name: labels(instance, name) for name in models(instance)}
    words = said.proofs(instance, *_WORDS)
    if not any(planned.values()) and not words:
        return None
    for model, wanted in planned.items():
        serving = available(instance, model)
        if wanted and serving is None:
            return unknown(f"the versions of {model} could not be read", instance.name, model)
        lost = [
            label
            for label, version in wanted.items()
            if version not in {*(serving or ()), *_loading(instance, model)} or _is_left_out(instance, label)
        ]
        if lost and _is_under_way(case, instance, model, wanted[lost[0]]):
            return unknown(CHANGING, instance.name, model)
        if lost:
            return _found(case, instance, model, f"{lost[0]} -> {wanted[lost[0]]}")
    part = instance.failed_ratio("INVALID_ARGUMENT")
    if words and (part or not instance.page.known):
        refused = proof("request_count", percent(part), "no INVALID_ARGUMENT")
        test = "All planned labels have versions that serve, so that callers ask for another one."
        return Judged("suspect", 0.6, (*words, refused), test, instance.name, impact=0.3)
    return cleared("All labels point to versions that serve.", instance=instance.name)


def _loading(instance: Instance, model: str) -> set[int]:
    """Return the versions that are being loaded: a roll-out is under way, and their labels follow."""
    found = states(instance, model) or ()
    return {each.version for each in found if each.state in ("START", "LOADING") and not each.code}


def _is_under_way(case: Case, instance: Instance, model: str, version: int) -> bool:
    """Tell whether labels move just now: the file of models has the new ones before the plan in force does."""
    return bool(_loading(instance, model)) or is_being_told(case, instance, model, version)


def _is_left_out(instance: Instance, label: str) -> bool:
    """Tell whether the file of models that is in force does not have a planned label."""
    content = at(instance.evidence, "files", "models.config")
    return isinstance(content, str) and not re.search(rf"""["']{re.escape(label)}["']""", content)


def _found(case: Case, instance: Instance, model: str, label: str) -> Judged:
    serving = sorted(available(instance, model) or ())
    refused = instance.failed_ratio("INVALID_ARGUMENT", "UNAVAILABLE")
    return Judged(
        "cause",
        0.9,
        (
            proof("models.config and the plan", f"label {label}", "a version that serves"),
            proof("the server's status", f"versions {', '.join(map(str, serving)) or 'none'} serve", "that version"),
            proof("request_count", f"{percent(refused)} refused", "none", case.window_s),
            *said.proofs(instance, *_WORDS),
        ),
        "Calls by number are answered; calls by the label are refused (400).",
        instance.name,
        model,
        impact=0.5 + (refused or 0.0) / 2,
    )


FAULT = Fault(
    id="models.label",
    title="A label points to no version that serves",
    layer="configuration",
    observable="calls by a label end as INVALID_ARGUMENT, calls by number do not",
    remedy=Remedy(
        "Serve the version first, and move the label when it is available: the role does both in this order.",
        "tfserving_models: [{name: MODEL, serve: {versions: [OLD, NEW], labels: {LABEL: NEW}}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1608",),
    judge=judge,
)
