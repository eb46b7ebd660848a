# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches are padded to an allowed size, and the rows that nobody asked for are computed too."""

from __future__ import annotations

from ....signals.thresholds import PADDING
from ... import batched
from ...case import Case
from ...derived import part, weighed
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each instance that pads batches."""
    return batched.each_batching(case, _judged)


def _judged(case: Case, instance: Instance, batching: batched.Batching) -> Judged | None:
    if not batching.allowed:
        return None
    padding = instance.padding_ratio
    if padding is None:
        return unknown("its page does not tell the padding", instance.name)
    sizes = ", ".join(f"{size:g}" for size in batching.allowed)
    evidence = (
        proof(
            "padding_size, processed_batch_size",
            f"{percent(padding)} of the rows",
            f"at most {PADDING.percent}",
            case.window_s,
        ),
        proof(batching.source, f"allowed_batch_sizes {sizes}", "a size near that of most batches"),
    )
    if padding <= PADDING.value:
        return cleared("Few rows are computed for nothing.", *evidence, instance=instance.name)
    execution = instance.execution_ms
    share = part(case, instance, None if execution is None else execution * padding)
    rows = batched.rows_per_batch(instance)
    return Judged(
        weighed(case, instance, share),
        0.9,
        evidence,
        f"Batches have {rows or 0:.1f} rows of requests on average, and the next allowed size is larger by that much.",
        instance.name,
        share=share,
    )


FAULT = Fault(
    id="batching.padding",
    title="Batches are padded with rows for nothing",
    layer="configuration",
    observable="padding_size is more than a fifth of processed_batch_size",
    remedy=Remedy(
        "Allow sizes near those that batches have, the largest being max_batch_size, and warm each of them up.",
        "tfserving_instances: [{name: INSTANCE, batching: {allowed_batch_sizes: [SIZES]}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md",),
    judge=judge,
)
