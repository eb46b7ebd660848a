# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The allowed sizes do not end with the largest batch, or requests have more rows than a batch may have."""

from __future__ import annotations

from ... import batched, said
from ...case import Case
from ...derived import each_instance, ended_as
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown

_SIZES = ("allowed_batch_sizes",)
_LARGE = (r"larger than maximum (input )?batch size", r"batch size .{0,40}exceeds")
# One wrong request in two hundred is more than a caller's slip.
REFUSED = 0.005


def judge(case: Case) -> list[Judged]:
    """Judge each instance that forms batches."""
    return each_instance(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    batching = batched.in_force(instance)
    if batching is None:
        return None
    sizes = ", ".join(f"{size:g}" for size in batching.allowed) or "any"
    evidence = proof(batching.source, f"allowed_batch_sizes {sizes}", f"ascending, the last one {batching.largest:g}")
    if _are_wrong(batching):
        words = "Every version fails to load with such sizes, on every host, whatever the model."
        return Judged("cause", 0.95, (evidence, *said.proofs(instance, *_SIZES)), words, instance.name, impact=0.9)
    return _too_large(case, instance, batching, evidence)


def _are_wrong(batching: batched.Batching) -> bool:
    """Tell whether the server refuses the sizes: the last one is that of the largest request, cut or not."""
    sizes = batching.allowed
    return bool(sizes) and (list(sizes) != sorted(set(sizes)) or sizes[-1] != batching.largest)


def _too_large(case: Case, instance: Instance, batching: batched.Batching, evidence: Proof) -> Judged:
    refused = instance.failed_ratio("INVALID_ARGUMENT")
    if refused is None and instance.evidence.get("log") is None:
        return unknown("neither its page nor its log could be read", instance.name)
    words = said.proofs(instance, *_LARGE)
    # A log keeps its words for long after; where calls are counted, the counts of now decide.
    if (refused or 0.0) < REFUSED and (instance.page.known or not words):
        return cleared("No request was refused as wrong.", evidence, instance=instance.name)
    counted = ended_as(case, refused, "INVALID_ARGUMENT")
    if batching.splits and not words:
        words_of_size = f"Requests of up to {batching.largest:g} rows are split; callers send something wrong."
        return cleared(words_of_size, counted, instance=instance.name)
    return Judged(
        "cause" if words else "suspect",
        0.9 if words else 0.35,
        (evidence, counted, *words),
        f"A request of {batching.largest:g} rows or fewer is answered."
        if words
        else "Requests may be wrong in another way; the server's answer to one of them tells.",
        instance.name,
        impact=0.5 + (refused or 0.0) / 2 if words else (refused or 0.0) / 2,
    )


FAULT = Fault(
    id="batching.sizes",
    title="Sizes of batches do not fit each other or the requests",
    layer="configuration",
    observable="versions fail to load over allowed_batch_sizes, or requests end as INVALID_ARGUMENT",
    remedy=Remedy(
        "Let allowed_batch_sizes end with max_batch_size; let the server cut requests that are larger than a batch.",
        "tfserving_instances: [{name: INSTANCE, batching: {enable_large_batch_splitting: true}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1401",),
    judge=judge,
)
