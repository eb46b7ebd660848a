# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Threads or memory set in a file that flags overrule, so that nothing of them is in force."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ...case import Case
from ...derived import each_running
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at
from ...verdicts import cleared, proof, unknown

# Fields of ConfigProto that the server overwrites by flags, those at their defaults included (server.cc).
LOST = {
    "intra_op_parallelism_threads": "tensorflow_intra_op_parallelism",
    "inter_op_parallelism_threads": "tensorflow_inter_op_parallelism",
    "per_process_gpu_memory_fraction": "per_process_gpu_memory_fraction",
}
# What a platform file turns off with everything that is marked so in the table of flags.
PLATFORM = "platform_config_file"
SESSION = "tensorflow_session_config_file"


def judge(case: Case) -> list[Judged]:
    """Judge each instance that was given such a file."""
    return each_running(case, _judged)


def _judged(_case: Case, instance: Instance) -> Judged | None:
    if instance.flags.get(PLATFORM):
        return _found(instance, f"--{PLATFORM}", "it turns off batching, threads and warm-up of all other flags")
    path = instance.flags.get(SESSION)
    if not path:
        return None
    content = at(instance.evidence, "files", "session.config")
    if not isinstance(content, str):
        return unknown(f"{PurePosixPath(path).name} could not be read", instance.name)
    lost = [field for field, flag in LOST.items() if _sets(content, field) and flag not in instance.flags]
    if not lost:
        return cleared("Its file of the session sets nothing that flags overrule.", instance=instance.name)
    return _found(instance, PurePosixPath(path).name, f"sets {', '.join(lost)}")


def _sets(content: str, field: str) -> bool:
    return re.search(rf"\b{field}\s*:", content) is not None


def _found(instance: Instance, where: str, what: str) -> Judged:
    threads = instance.process("threads")
    return Judged(
        "cause",
        0.85,
        (
            proof(where, what, "flags of the same meaning"),
            proof("/proc/PID/status", f"{threads or 0:.0f} threads", "as many as the file asks for"),
        ),
        "The server writes the values of flags, their defaults too, over those of the file; threads of the process are "
        "then as many as its CPUs ask for.",
        instance.name,
        impact=0.4,
    )


FAULT = Fault(
    id="flags.settings_lost",
    title="Threads or GPU memory of a file are not in force",
    layer="configuration",
    observable="the file of the session or of the platform sets what flags decide",
    remedy=Remedy(
        "Set threads and the share of the GPU by flags alone, or leave them to the plan.",
        "tfserving_instances: [{name: INSTANCE, flags: {tensorflow_intra_op_parallelism: NUMBER, "
        "tensorflow_inter_op_parallelism: NUMBER}}]; ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/blob/2.19.1/tensorflow_serving/model_servers/server.cc",),
    judge=judge,
)
