# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version serves its first requests cold, since it brings no warm-up records."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import each_used, tail, weighed
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, ratio
from ...verdicts import cleared, proof, unknown
from ...versions import available, models, on_disk, whole

# Cold caches, pools and kernels are warm again after some minutes of traffic.
YOUNG_S = 300.0
# p99 this many times p50 is a tail that the usual spread of requests does not have.
TAIL = 5.0


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    bare = [(model, found) for model in models(instance) if (found := _without(instance, model)) is not None]
    if not bare:
        return unknown("the files of its versions could not be read", instance.name)
    model, version = max(bare, key=lambda row: row[1])
    if not version:
        return cleared("Versions that serve were warmed up.", instance=instance.name)
    age, loads = _age_s(case, instance), instance.loads("success") or 0.0
    evidence = (
        proof(f"{model}/{version}/assets.extra", "no tf_serving_warmup_requests", "warm-up records"),
        proof("load_attempt_count, the unit", f"{loads:.0f} loads, process {_shown(age)} old", "no load just before"),
    )
    if loads < 1 and not (age is not None and age < YOUNG_S):
        return cleared("It was loaded long ago, and what was cold is warm.", *evidence, instance=instance.name)
    spread = tail(case, instance, page.LATENCY)
    if spread is None or spread < TAIL:
        return cleared("It was loaded just now, and no request is much slower.", *evidence, instance=instance.name)
    share = _share(instance)
    return Judged(
        weighed(case, instance, share),
        0.85,
        (*evidence, proof("request_latency", f"p99 is {spread:.0f} times p50", "below 5 times", case.window_s)),
        "Only requests after a load are slow, and the graph is built for no others later on.",
        instance.name,
        model,
        share=share,
    )


def _without(instance: Instance, model: str) -> int | None:
    """Return the newest version that serves without warm-up records, 0 for none, None where that is not known."""
    files, serving = on_disk(instance, model), available(instance, model)
    if files is None or serving is None:
        return None
    return max((number for number in map(whole, files) if number in serving and _is_bare(files, number)), default=0)


def _is_bare(files: object, number: int) -> bool:
    return at(files, str(number), "warmup") is False


def _age_s(case: Case, instance: Instance) -> float | None:
    now, started = case.latest("at"), at(instance.evidence, "unit", "started")
    return now - started if now is not None and isinstance(started, (int, float)) else None


def _shown(age_s: float | None) -> str:
    return "unknown" if age_s is None else f"{age_s:.0f} s"


def _share(instance: Instance) -> float | None:
    """Return the part of the mean latency that the slow requests add to that of the middle one."""
    middle = instance.page.bracket(page.LATENCY, 0.5)
    part = None if middle is None else ratio(middle[1], instance.page.mean(page.LATENCY))
    return None if part is None else max(1.0 - part, 0.0)


FAULT = Fault(
    id="model.no_warmup",
    title="A new version answers its first requests cold",
    layer="model",
    observable="requests are slow after each load, and no model_warmup_latency is counted",
    remedy=Remedy(
        "Let the version bring warm-up records, made from its golden requests, and publish it as a new one.",
        "tfserving_models: [{name: MODEL, golden: FILE, warmup: auto}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "none",
        restart=False,
    ),
    refs=(
        "https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/saved_model_warmup.md",
        "https://github.com/tensorflow/serving/issues/385",
        "https://github.com/tensorflow/serving/issues/1866",
    ),
    judge=judge,
)
