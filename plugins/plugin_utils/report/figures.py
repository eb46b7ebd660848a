# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the instances as tables, and the reasons for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planner.schema import Batching, InstancePlan, Plan
from . import words as values
from .machine_map import instance_key
from .sheet import Column, Figure, Reason, Row, Table

OVERRIDE = "(override) "

PLACE = (
    Column("", "models"),
    Column("", "profile"),
    Column("", "p99", True),
    Column("", "CPUs"),
    Column("", "nodes"),
    Column("", "GPUs"),
    Column("Ports", "gRPC", True),
    Column("Ports", "REST", True),
)
WORK = (
    Column("Threads", "intra", True),
    Column("Threads", "inter", True),
    Column("Threads", "gRPC", True),
    Column("Threads", "REST", True),
    Column("Threads", "load", True),
    Column("Batching", "size", True),
    Column("Batching", "wait", True),
    Column("Batching", "threads", True),
    Column("Batching", "queue", True),
    Column("Memory", "NUMA"),
    Column("Memory", "peak", True),
    Column("Memory", "limit", True),
)
ABSENT = "-"


def tables(plan: Plan) -> tuple[Table, ...]:
    """Return the tables of a host's instances, none for a host without instances."""
    instances = list(enumerate(plan["instances"]))
    if not instances:
        return ()
    versions = {model["name"]: values.described("", model["versions"]) for model in plan["models"]}
    return (
        Table("Place", PLACE, tuple(Row(instance_key(n), _place(each, versions)) for n, each in instances)),
        Table("Work", WORK, tuple(Row(instance_key(n), _work(each)) for n, each in instances)),
    )


def _place(instance: InstancePlan, versions: Mapping[str, str]) -> tuple[str, ...]:
    models = (f"{name} {versions.get(name, '')}".strip() for name in instance["models"])
    objective = instance.get("slo_p99_ms")
    return (
        ", ".join(models),
        instance["profile"],
        f"{objective:g} ms" if objective else ABSENT,
        instance["cpus"],
        instance["nodes"] or ABSENT,
        ", ".join(map(str, instance["gpus"])) or ABSENT,
        str(instance["ports"]["grpc"]),
        str(instance["ports"]["rest"]),
    )


def _work(instance: InstancePlan) -> tuple[str, ...]:
    memory = instance["memory"]
    threads: Mapping[str, object] = instance["threads"]
    numa = " ".join(filter(None, (memory["policy"], memory["mask"])))
    limits = (memory.get("expected_mb"), memory.get("max_mb"))
    return (
        *(str(threads[pool]) for pool in ("intra_op", "inter_op", "grpc", "rest")),
        f"{threads['load']}+{threads['unload']}",
        *_batching(instance["batching"]),
        numa,
        *(ABSENT if limit is None else values.size(limit) for limit in limits),
    )


def _batching(batching: Batching | None) -> tuple[str, ...]:
    if not batching:
        return ("off", *[ABSENT] * 3)
    wait = batching.get("batch_timeout_micros")
    return (
        str(batching.get("max_batch_size", ABSENT)),
        ABSENT if wait is None else f"{wait / 1000:g} ms",
        str(batching.get("num_batch_threads", ABSENT)),
        str(batching.get("max_enqueued_batches", ABSENT)),
    )


def figures(plan: Plan) -> tuple[Figure, ...]:
    """Return every figure with a reason: those of the host, then those of the instances, in the plan's order."""
    found = [
        Figure(f"{name}.cpus", (Reason((), values.described("", half["cpus"]), half["reason"], False),))
        for name, half in (("housekeeping", plan["housekeeping"]), ("serving", plan["serving"]))
        if half.get("reason")
    ]
    paths = dict.fromkeys(path for instance in plan["instances"] for path in instance["reasons"])
    return tuple([*found, *(Figure(path, _reasons(path, plan["instances"])) for path in paths)])


def _reasons(path: str, instances: list[InstancePlan]) -> tuple[Reason, ...]:
    """Return the reasons for one figure; instances with the same value and reason share one."""
    shared: dict[tuple[str, str, bool], list[str]] = {}
    for number, instance in enumerate(instances):
        if path in instance["reasons"]:
            text = instance["reasons"][path].removeprefix(OVERRIDE)
            said = values.described(path, _value(path, instance)), text, path in instance["overrides"]
            shared.setdefault(said, []).append(instance_key(number))
    return tuple(Reason(tuple(owners), *said) for said, owners in shared.items())


def _value(path: str, instance: Mapping[str, Any]) -> Any:
    head, _dot, tail = path.partition(".")
    value = instance.get(head)
    if tail:
        return value.get(tail) if isinstance(value, Mapping) else None
    # The fields of the message are figures of their own.
    return bool(value) if path == "batching" else value
