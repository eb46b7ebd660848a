# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings on environment variables that do not do what they look like."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from ..tables.read import table
from .case import HIDDEN, Case
from .command_line import rows
from .finding import Found, found
from .launch import DEFAULTS

# Prefixes that people put before the name of a flag.
_PREFIX = re.compile(r"^(TENSORFLOW_SERVING_|TF_SERVING_|TFSERVING_|TFS_|TENSORFLOW_|TF_)")
# A slip of a key or two in a name of twenty; variables of the same family are less alike.
LIKENESS = 0.92
# TensorFlow's own variables for pools, and the flags that win over them (direct_session.cc, process_util.cc).
_THREADS = {
    "TF_NUM_INTEROP_THREADS": "tensorflow_inter_op_parallelism",
    "TF_NUM_INTRAOP_THREADS": "tensorflow_intra_op_parallelism",
}
_NAMES = {"MODEL_NAME": "model_name", "MODEL_BASE_PATH": "model_base_path"}


def environment(case: Case) -> Iterator[Found]:
    """Judge the variables of a server."""
    known = table("adoption_findings")
    for name in [*case.environment, *case.other_names]:
        bare = name.strip()
        if bare != name and bare:
            yield found("env.name", name=bare, shown=repr(name))
        elif name in known["dead_variables"]:
            yield found("env.dead", name=name, instead=known["dead_variables"][name])
        elif name in known["texts"]:
            yield from _text(case, name)
        elif name in _NAMES:
            yield from _model_name(case, name)
        elif _near(name):
            yield found("env.near", name=name, guess=_near(name))
        else:
            yield from _flag(case, name)
    yield from _threads(case)
    clusters = "tf_xla_auto_jit" in case.environment.get("TF_XLA_FLAGS", "")
    if clusters and not (case.line["xla_cpu_compilation_enabled"] or case.line["xla_gpu_compilation_enabled"]):
        yield found("env.xla")


def _text(case: Case, name: str) -> Iterator[Found]:
    rule = table("adoption_findings")["texts"][name]
    value = case.environment.get(name, HIDDEN)
    if value not in (*rule["words"], HIDDEN):
        yield found("env.value", name=name, value=repr(value), why=rule["why"])


def _near(name: str) -> str:
    known = table("adoption_findings")["near"]
    if name in known or not name.startswith(("TF_", "CUDA_", "NVIDIA_", "OMP_", "KMP_", "MALLOC_")):
        return ""
    close = difflib.get_close_matches(name, known, n=1, cutoff=LIKENESS)
    return f"did you mean '{close[0]}'?" if close else ""


def _flag(case: Case, name: str) -> Iterator[Found]:
    """Judge a variable that is called like a flag, unless a script has made the flag of it."""
    flag = name.lower() if name.lower() in rows() else _PREFIX.sub("", name).lower()
    if name.isupper() and flag in rows() and flag not in ("version", "port") and flag not in case.line.given:
        value = case.line[flag]
        yield found("env.flag", name=name, flag=flag, value="unset" if value in ("", None) else str(value).lower())


def _model_name(case: Case, name: str) -> Iterator[Found]:
    value, flag = case.environment.get(name), _NAMES[name]
    # The image sets both itself; only what differs was written by somebody.
    if value is None or value == DEFAULTS[name]:
        return
    if case.line.given.get("model_config_file"):
        yield found("env.model_name", name=name, why="model_config_file names the models")
    elif case.line.chosen(flag) and value not in str(case.line[flag]):
        yield found("env.model_name", name=name, why=f"the flag {flag} takes its place")
    elif not case.launch.entrypoint and value not in str(case.line[flag]):
        yield found("env.model_name", name=name, why="only the entrypoint of the image reads it")


def _threads(case: Case) -> Iterator[Found]:
    for name, flag in _THREADS.items():
        winner = flag if case.line[flag] else "tensorflow_session_parallelism"
        if name in case.environment and case.line[winner]:
            yield found("env.threads", name=name, flag=winner, value=case.line[winner])
