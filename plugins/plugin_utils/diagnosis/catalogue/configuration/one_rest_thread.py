# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST has so few threads that calls wait for one; a single one answers nothing at all."""

from __future__ import annotations

from ...case import Case
from ...derived import at_work, each_running, is_pool_full, mean_ms, pool_size, whole
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, ratio
from ...verdicts import cleared, proof, unknown

FLAG = "rest_api_num_threads"


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers REST."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.flags:
        return unknown("its command line could not be read", instance.name)
    if not whole(instance, "rest_api_port"):
        return None
    size = pool_size(instance, "REST")
    if size is None:
        return unknown("neither its command line nor its CPUs tell the threads of REST", instance.name)
    if size < 1:
        return _hangs(instance)
    busy = proof(
        "request_latency", f"{at_work(instance, 'REST') or 0:.1f} of {size} at work", "some free", case.window_s
    )
    if not is_pool_full(instance, "REST"):
        return cleared("REST has threads that are free.", busy, instance=instance.name)
    return _waits(case, instance, size)


def _hangs(instance: Instance) -> Judged:
    probe = instance.evidence.get("probe")
    grpc = (
        f"gRPC answers {at(probe, 'grpc_health') or 'nothing'}, REST {'in time' if at(probe, 'rest_ms') else 'nothing'}"
    )
    return Judged(
        "cause",
        0.97,
        (proof("its command line", f"--{FLAG}=1", "2 or more"), proof("a call to each port", grpc, "both answer")),
        "The event loop takes the only thread, so that the port accepts connections and answers none; gRPC is not "
        "concerned.",
        instance.name,
        impact=0.95,
    )


def _waits(case: Case, instance: Instance, size: int) -> Judged:
    seen, own = mean_ms(case, instance), instance.request_ms("REST")
    outside = None if seen is None or own is None else ratio(max(seen - own, 0.0), seen)
    return Judged(
        "cause" if size < len(instance.cpus) else "contributor",
        0.85,
        (proof("its command line", f"{size} threads for calls of REST", "more than calls at a time"),),
        "Calls that wait for a thread are not in the server's own latency, which the time of decoding JSON is; by gRPC "
        "the same requests do not wait.",
        instance.name,
        share=outside if outside else 0.3,
    )


FAULT = Fault(
    id="rest.threads",
    title="REST has too few threads",
    layer="configuration",
    observable="calls by REST hang or wait while gRPC answers",
    remedy=Remedy(
        "Take the flag out, and let the plan size the pool; never less than 2.",
        "tfserving_instances: [{name: INSTANCE, flags: {rest_api_num_threads: 64}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1576",),
    judge=judge,
)
