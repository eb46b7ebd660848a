# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""XLA is asked for on GPUs, and the server has no compiler for them."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ....tables import surveyed
from ... import said
from ...case import Case
from ...derived import each_running, ended_as
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, text
from ...verdicts import cleared, unknown

_WORDS = (r"Could not find compiler for platform", r"XLA_GPU_JIT.{0,80}not .{0,40}registered")
# The first release that links XLA's compiler for GPUs, and the flag that turns it on.
SINCE, FLAG = (2, 18), "xla_gpu_compilation_enabled"


def judge(case: Case) -> list[Judged]:
    """Judge each instance with GPUs, or whose log names the compiler."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    words = said.proofs(instance, *_WORDS)
    if not words and not instance.plan.get("gpus"):
        return None
    if instance.evidence.get("log") is None:
        return unknown("its log could not be read", instance.name)
    if not words:
        return cleared("It names no missing compiler.", instance=instance.name)
    version = text(at(instance.plan, "server", "version"))
    refused = instance.failed_ratio("UNIMPLEMENTED")
    counted = ended_as(case, refused, "UNIMPLEMENTED")
    return Judged(
        "cause",
        0.95,
        (*words, counted),
        _test(version),
        instance.name,
        impact=0.5 + (refused or 0.5) / 2,
    )


def _test(version: str) -> str:
    try:
        has_it = surveyed.parse(version)[:2] >= SINCE
    except WishError:
        return "Its release is not known, so that the flag or a newer one may help."
    if has_it:
        return f"{version} has the compiler, so that only --{FLAG} is missing."
    return f"{version} has no compiler for GPUs; releases from 2.18 on have one."


FAULT = Fault(
    id="xla.no_compiler",
    title="XLA has no compiler for the GPU",
    layer="configuration",
    observable="UNIMPLEMENTED: Could not find compiler for platform CUDA",
    remedy=Remedy(
        "From 2.18 on set the flag; older releases serve the model without XLA only: export it without jit_compile.",
        "tfserving_instances: [{name: INSTANCE, flags: {xla_gpu_compilation_enabled: true}}]; "
        "tfserving_version: 2.19.1; ansible-playbook playbooks/site.yml --limit HOST",
        "medium",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/2214",),
    judge=judge,
)
