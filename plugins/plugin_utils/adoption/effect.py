# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an old command line and a plan have in common, flag by flag, and which differences matter.

A flag that somebody wrote is kept. Where nobody wrote one, the default of the server held, and the plan may have a
better figure: only for the flags of ``IMPROVED``, each with the reason. Everything else stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..diagnosis.reading import at
from . import check_place, check_words
from .case import BATCHING, Case
from .check_words import CHANNEL
from .command_line import rows

# Flags that other wishes stand for; they are compared by what they mean.
MEANT = (
    "port",
    "rest_api_port",
    "model_config_file",
    "model_name",
    "model_base_path",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "ssl_config_file",
    "platform_config_file",
    "tensorflow_session_parallelism",
    "version",
)
POOLS = ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")
# Flags whose default nobody chose, and which the plan sets for a reason of its own.
IMPROVED = {
    "rest_api_num_threads": "the server's own figure follows the CPUs that it sees, the plan's those that it gets",
    "grpc_max_threads": "the server's own figure follows the CPUs that it sees, the plan's those that it gets",
    "tensorflow_intra_op_parallelism": "by default both pools get a thread for each CPU, which is twice too many",
    "tensorflow_inter_op_parallelism": "by default both pools get a thread for each CPU, which is twice too many",
    "num_load_threads": "with 0 a version that fails holds back all others",
    "num_unload_threads": "with 0 unloads wait behind loads",
    "max_num_load_retries": "by default a broken version is reported after five minutes only",
    "load_retry_interval_micros": "by default a broken version is reported after five minutes only",
    "enable_profiler": "by default it answers anyone who reaches the port",
    "model_config_file_poll_wait_seconds": "by default a changed models file takes effect at the next start only",
    "allow_version_labels_for_unavailable_models": "without it a server with labels does not start",
    "per_process_gpu_memory_fraction": "the plan divides a GPU among the instances on it",
    "file_system_poll_wait_seconds": "the plan sets the same",
}
# equal: the same in effect; kept: a wish keeps it; planned: nobody had chosen it, and the plan has its own figure;
# lost: it cannot be wished; left: it has no effect, or would have none
Fate = Literal["equal", "kept", "planned", "lost", "left"]


@dataclass(frozen=True)
class Row:
    """A setting now and then."""

    setting: str
    before: Any
    after: Any
    fate: Fate
    reason: str = ""


@dataclass(frozen=True)
class Override:
    """A wish that keeps what an old server does: its path within the instance, its value, and why."""

    path: tuple[str, ...]
    value: Any
    reason: str

    @property
    def setting(self) -> str:
        """The path as a refusal of the planner names it."""
        return ".".join(self.path)


def old_flags(case: Case) -> dict[str, Any]:
    """Return the flags of an old server in effect; None where it works a figure out from its CPUs."""
    line = case.line
    found = {flag: line[flag] for flag in rows()}
    found[CHANNEL] = ",".join(check_words.effective_arguments(line[CHANNEL]))
    both = line["tensorflow_session_parallelism"]
    if both and not any(line[pool] for pool in POOLS):
        found.update(dict.fromkeys(POOLS, both))
    if any(line[pool] for pool in POOLS):
        # With one of them alone the other is left to TensorFlow (server.cc).
        found.update({pool: line[pool] for pool in POOLS})
    return found


def chosen(case: Case, flag: str) -> bool:
    """Return whether somebody chose what a flag is in effect."""
    by_session = flag in POOLS and not any(case.line[pool] for pool in POOLS)
    if by_session and case.line["tensorflow_session_parallelism"]:
        return case.line.chosen("tensorflow_session_parallelism")
    return case.line.chosen(flag) and not _is_automatic(flag, case.line[flag])


def _is_automatic(flag: str, value: Any) -> bool:
    """Return whether a value means that the server chooses."""
    return flag in POOLS and value == 0


def new_flags(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return all flags of a planned instance in effect."""
    return {flag: instance["flags"].get(flag, row["default"]) for flag, row in rows().items()}


def compared(case: Case, instance: Mapping[str, Any]) -> Iterator[tuple[Row, Override | None]]:
    """Yield each setting of a server, now and as planned, with the wish that would keep what matters."""
    yield from _flags(case, instance)
    yield from _ports(case, instance)
    yield from _batching(case, instance)


def stated(case: Case) -> Iterator[Override]:
    """Yield all that somebody wrote, as wishes, where no plan says what of it differs."""
    nothing = {"flags": {}, "ports": {"grpc": 0, "rest": 0}, "batching": {}}
    for _row, override in compared(case, nothing):
        if override:
            yield Override(override.path, override.value, "the old server does so")


def _flags(case: Case, instance: Mapping[str, Any]) -> Iterator[tuple[Row, Override | None]]:
    before, after = old_flags(case), new_flags(instance)
    for flag in rows():
        if flag in MEANT:
            continue
        old, new = before[flag], after[flag]
        if old == new:
            if chosen(case, flag):
                yield Row(flag, old, new, "equal"), None
        elif chosen(case, flag) or flag not in IMPROVED:
            why = f"the old command line says so; the plan has {_said(new)}"
            yield Row(flag, old, new, "kept", why), Override(("flags", flag), old, why)
        else:
            yield Row(flag, old, new, "planned", IMPROVED[flag]), None


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "its default" if value in (None, "") else str(value)


def _ports(case: Case, instance: Mapping[str, Any]) -> Iterator[tuple[Row, Override | None]]:
    old = check_place.host_ports(case)
    for kind in ("grpc", "rest"):
        new = instance["ports"][kind]
        if kind not in old:
            why = "nobody reaches it from outside today, and the plan needs it for its proof"
            yield Row(f"port of {kind}", None, new, "planned", why), None
        elif old[kind] == new:
            yield Row(f"port of {kind}", old[kind], new, "equal"), None
        else:
            why = "callers know this port"
            row = Row(f"port of {kind}", old[kind], new, "kept", why)
            yield row, Override(("ports", kind), old[kind], why)


def _batching(case: Case, instance: Mapping[str, Any]) -> Iterator[tuple[Row, Override | None]]:
    old, new = case.batching, instance["batching"]
    if old is None and new is None:
        yield Row("batching", "off", "off", "equal"), None
        return
    if old is None:
        why = "the old server answers request by request; the plan would form batches"
        yield Row("batching", "off", "on", "kept", why), Override(("batching", "enabled"), False, why)
        return
    planned = new or {}
    given = at(case.parsed, "batching_parameters_file") or {}
    for field, value in old.items():
        if planned.get(field) == value:
            yield Row(f"batching.{field}", value, value, "equal"), None
            continue
        why = "its file says so" if field in given else "the server's own figure, since its file does not say"
        row = Row(f"batching.{field}", value, planned.get(field), "kept", why)
        yield row, Override(("batching", field), value, why)
    for field in sorted(set(planned) - set(old)):
        why = "its file does not say, and the server's own figure follows its CPUs"
        yield Row(f"batching.{field}", BATCHING.get(field), planned[field], "planned", why), None
