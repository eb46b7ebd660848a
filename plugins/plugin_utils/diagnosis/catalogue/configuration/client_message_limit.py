# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers are larger than callers by gRPC take, so that they fail where the server counts success."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import each_used, ended_as
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, mapping
from ...verdicts import cleared, proof, unknown

# What gRPC's libraries receive unless told otherwise (grpc.max_receive_message_length).
LIMIT = 4 << 20
OUTPUT = ":tensorflow:core:graph_run_output_tensor_bytes"


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers gRPC."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.page.count(page.LATENCY, entrypoint="GRPC"):
        return None
    bracket = instance.page.bracket(OUTPUT, 1.0)
    seen = mapping(at(case.client, instance.name, "statuses"))
    if bracket is None and "RESOURCE_EXHAUSTED" not in seen:
        return unknown("its page does not tell the size of answers", instance.name)
    largest = 0.0 if bracket is None else bracket[1]
    size = proof("graph_run_output_tensor_bytes", f"up to {largest / 2**20:.3g} MiB", "below 4 MiB", case.window_s)
    refused = instance.failed_ratio("RESOURCE_EXHAUSTED")
    is_told = "RESOURCE_EXHAUSTED" in seen and not refused
    if largest <= LIMIT and not is_told:
        return cleared("Answers are smaller than callers take.", size, instance=instance.name)
    server = ended_as(case, refused, "RESOURCE_EXHAUSTED")
    return Judged(
        "cause" if is_told else "suspect",
        0.9 if is_told else 0.4,
        (size, server),
        "Callers report RESOURCE_EXHAUSTED where the server counts OK."
        if is_told
        else "Only callers can tell: a call with a higher limit succeeds.",
        instance.name,
        impact=0.6 if is_told else 0.2,
    )


FAULT = Fault(
    id="client.message_limit",
    title="Answers are larger than gRPC's callers take",
    layer="configuration",
    observable="callers see RESOURCE_EXHAUSTED, and the server counts OK",
    remedy=Remedy(
        "Let callers open their channel with a higher limit, or ask for fewer rows or outputs (output_filter).",
        "grpc.insecure_channel(ADDRESS, options=[('grpc.max_receive_message_length', BYTES)])",
        "none",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1382",),
    judge=judge,
)
