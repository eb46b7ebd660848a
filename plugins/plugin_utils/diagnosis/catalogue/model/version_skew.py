# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host serves other versions than it should, or than most of its peers do."""

from __future__ import annotations

from collections import Counter

from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown
from ...versions import CHANGING, available, is_being_told, is_moved_by_rollouts, models, states, wanted

Versions = frozenset[int]


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    for model in models(instance):
        serving = available(instance, model)
        if serving is None:
            return unknown(f"the versions of {model} could not be read", instance.name, model)
        found = _against_plan(case, instance, model, serving) or _against_peers(case, instance, model, serving)
        if found:
            return found
    return cleared("It serves the versions of its plan, and its peers do too.", instance=instance.name)


def _against_plan(case: Case, instance: Instance, model: str, serving: Versions) -> Judged | None:
    planned = wanted(instance, model)
    # A version that fails to load, or is being loaded, is no skew.
    at_work = any(each.code or each.state in ("LOADING", "START") for each in states(instance, model) or ())
    if not planned or planned <= serving or at_work or not serving:
        return None
    if any(is_being_told(case, instance, model, version) for version in planned - serving):
        return unknown(CHANGING, instance.name, model)
    evidence = proof("the server's status", f"serves {_shown(serving)}", f"versions {_shown(planned)} of the plan")
    test = "Nothing is being loaded and nothing has failed, so that the server does not know of the version."
    return Judged("cause", 0.9, (evidence,), test, instance.name, model, impact=0.4)


def _against_peers(case: Case, instance: Instance, model: str, serving: Versions) -> Judged | None:
    others = [available(peer, model) for each in case.peers if (peer := each.instance(instance.name))]
    known = [each for each in others if each]
    if not known:
        return None
    usual, often = Counter(known).most_common(1)[0]
    if usual == serving or often <= len(known) / 2 or not serving:
        return None
    evidence: tuple[Proof, ...] = (
        proof("the server's status", f"serves {_shown(serving)}", f"versions {_shown(usual)} of {often} peers"),
    )
    if is_moved_by_rollouts(case, model):
        test = "Roll-outs move this model, and hosts differ while one is under way."
        return cleared(test, *evidence, instance=instance.name, model=model)
    test = "No roll-out moves this model, so that some hosts were left out of a run, or their inventories differ."
    return Judged("suspect", 0.7, evidence, test, instance.name, model, impact=0.3)


def _shown(versions: Versions) -> str:
    return ", ".join(map(str, sorted(versions))) or "none"


FAULT = Fault(
    id="model.version_skew",
    title="Hosts serve different versions",
    layer="model",
    observable="the version that answers depends on the host",
    remedy=Remedy(
        "Bring the hosts to one version: finish the run or the roll-out that stopped, or take it back.",
        "ansible-playbook playbooks/status.yml; ansible-playbook playbooks/site.yml",
        "low",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/serving_config.md",),
    judge=judge,
)
