# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server runs without REST: its port is that of gRPC, or another process has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ... import restarts, said
from ...case import Case
from ...derived import each_running, whole
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown

_WORDS = (r"Skipped exporting HTTP/REST", r"Failed to start HTTP Server")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that should answer REST."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.flags:
        return unknown("its command line could not be read", instance.name)
    rest, grpc = whole(instance, "rest_api_port"), whole(instance, "port")
    if not rest:
        return None
    if rest == grpc:
        return _found(instance, proof("its command line", f"both ports are {rest}", "two ports"))
    if case.fact("listeners") is None:
        return unknown("the listening sockets could not be read", instance.name)
    pid = instance.process("pid")
    owner = _owner(case, rest)
    if owner and (owner.get("pid") == pid or (owner.get("pid") is None and not instance.log(*_WORDS))):
        return cleared("It listens on its port of REST.", instance=instance.name)
    if instance.name in case.restarted:
        return unknown(restarts.WHY, instance.name)
    if not owner and _owner(case, grpc) is None:
        return cleared("No port of it is open, so that it is still loading.", instance=instance.name)
    by = f"process {owner.get('pid') or 'unknown'} listens" if owner else "nobody listens"
    return _found(instance, proof("/proc/net/tcp", f"{by} on port {rest}", f"process {pid or 0:.0f}"))


def _owner(case: Case, port: int | None) -> Mapping[str, Any] | None:
    return next((row for row in case.listeners if row.get("port") == port), None)


def _found(instance: Instance, evidence: Proof) -> Judged:
    return Judged(
        "cause",
        0.95,
        (evidence, *said.proofs(instance, *_WORDS)),
        "gRPC is open, so that the server is up and has loaded its models; it only says in its log that REST is not.",
        instance.name,
        impact=0.9,
    )


FAULT = Fault(
    id="rest.port_closed",
    title="REST was never opened",
    layer="configuration",
    observable="the server runs and nothing of it listens on rest_api_port",
    remedy=Remedy(
        "Give the instance a port of its own that is free, and start it again.",
        "tfserving_instances: [{name: INSTANCE, ports: {grpc: 8500, rest: 8501}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/2.19.1/tensorflow_serving/model_servers/server.cc",),
    judge=judge,
)
