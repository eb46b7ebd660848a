# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version has no file of batching parameters of its own, and the server then forms no batches for it."""

from __future__ import annotations

from ... import batched
from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at
from ...verdicts import cleared, proof, unknown
from ...versions import available, models, on_disk, whole

FILE = "batching_params.pbtxt"


def judge(case: Case) -> list[Judged]:
    """Judge each instance whose models bring their own batching."""
    return each_running(case, _judged)


def _judged(_case: Case, instance: Instance) -> Judged | None:
    if instance.flags.get("enable_per_model_batching_parameters", "false").lower() not in ("true", "1"):
        return None
    for model in models(instance):
        files, serving = on_disk(instance, model), available(instance, model)
        if files is None or serving is None:
            return unknown(f"the versions of {model} could not be read", instance.name, model)
        bare = sorted(serving & {whole(each) for each in files if at(files, each, "batching_params") is False})
        if bare:
            return _found(instance, model, bare)
    return cleared("Every version that serves has its file of batching parameters.", instance=instance.name)


def _found(instance: Instance, model: str, bare: list[int]) -> Judged:
    runs_alone = instance.used and not batched.ran(instance)
    batches = proof("batching_session/wrapped_run_count", "no batches" if runs_alone else "some batches", "batches")
    return Judged(
        "cause" if runs_alone else "contributor",
        0.9 if runs_alone else 0.7,
        (proof(f"{model}/{bare[-1]}/{FILE}", "missing", "a file in each version"), batches),
        "Other versions with the file form batches; with enable_per_model_batching_parameters the global file does not "
        "stand in for it.",
        instance.name,
        model,
        impact=0.3,
    )


FAULT = Fault(
    id="batching.file_missing",
    title="A version brings no batching parameters",
    layer="configuration",
    observable=f"enable_per_model_batching_parameters is set, and a version that serves has no {FILE}",
    remedy=Remedy(
        f"Publish the model as a new version with {FILE}, or take the flag out and set batching for the instance.",
        "tfserving_instances: [{name: INSTANCE, flags: {enable_per_model_batching_parameters: false}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md",),
    judge=judge,
)
