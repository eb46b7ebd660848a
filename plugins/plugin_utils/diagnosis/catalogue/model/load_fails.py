# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version cannot be loaded."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ... import said
from ...case import Case
from ...derived import each_instance
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown
from ...versions import State, available, models, states, wanted

_WORDS = (r"Loading servable: .{0,200} failed",)
_LONGEST = 300


def judge(case: Case) -> list[Judged]:
    """Judge each model of each instance."""
    return each_instance(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    known = {model: states(instance, model) for model in models(instance)}
    failed = [(model, each) for model in known for each in _failed(instance, model)]
    if failed:
        return _found(case, instance, *max(failed, key=lambda row: row[1].version))
    words = said.proofs(instance, *_WORDS)
    if words and (instance.running is False or instance.loads("fail")):
        return _trying(case, instance, words)
    if None in known.values():
        return unknown("the server did not say how its models are", instance.name)
    return cleared("No version failed to load.", instance=instance.name)


def _failed(instance: Instance, model: str) -> list[State]:
    """Return the versions that do not load, but for those that nobody waits for: overtaken, or taken back."""
    newest, planned = max(available(instance, model) or (), default=0), wanted(instance, model)
    failed = [each for each in states(instance, model) or () if each.code]
    return [
        each
        for each in failed
        if each.version in planned or not newest or (each.version > newest and each.code != "CANCELLED")
    ]


def _trying(case: Case, instance: Instance, words: tuple[Proof, ...]) -> Judged:
    """Return the finding of a server that is still at it, or that ended because a first version does not load."""
    down = instance.running is False
    counted = proof("load_attempt_count", f"{instance.loads('fail') or 0:.0f} loads failed", "none", case.window_s)
    return Judged(
        "cause",
        0.9 if down else 0.8,
        (*words, counted),
        "A server ends if a model's first version cannot be loaded; its last words are about that version."
        if down
        else "The server goes on trying; it gives the version up after its last attempt.",
        instance.name,
        impact=1.0 if down else 0.6,
        words="it cannot start" if down else "",
    )


def _found(case: Case, instance: Instance, model: str, state: State) -> Judged:
    serving = available(instance, model)
    return Judged(
        "cause",
        0.95,
        (
            proof("the server's status", f"version {state.version} {state.state}: {state.code}", "AVAILABLE"),
            proof("its words", told(state.message, _LONGEST), "none"),
            *_elsewhere(case, instance, model, state.version),
        ),
        "A model whose directory is missing has no state at all; this version was found, and refused.",
        instance.name,
        model,
        impact=0.6 if serving else 1.0,
        words="an older version serves" if serving else "no version of it serves",
    )


def _elsewhere(case: Case, instance: Instance, model: str, version: int) -> tuple[Proof, ...]:
    """Tell whether peers load the version: then it is this host's copy or memory, and not the model."""
    others = [peer for peer in (each.instance(instance.name) for each in case.peers) if peer is not None]
    having = [peer for peer in others if version in (available(peer, model) or ())]
    if not others:
        return ()
    return (proof("its peers", f"{len(having)} of {len(others)} serve it", "all or none"),)


FAULT = Fault(
    id="model.load_fails",
    title="A version cannot be loaded",
    layer="model",
    observable="a version ends with an error, and load_attempt_count counts a failure",
    remedy=Remedy(
        "Read the server's words: publish a whole or a mended model as a new version, or go back to the one before. "
        "Where peers serve it, remove this host's copy and let the role fetch it again.",
        "tfserving_models: [{name: MODEL, version: NUMBER}]; ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/blob/2.19.1/tensorflow_serving/core/aspired_versions_manager.cc",),
    judge=judge,
)
