# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From evidence to ranked findings: what explains most with the most certainty comes first.

Causes of an outage stand above causes of latency, causes above contributors, contributors above suspects. Of equal
ones the machine comes before the model, and the model before settings. What another finding explains is no cause of its
own. UNKNOWN is no pass: it is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import restarts
from .case import Case
from .faults import LAYERS, faults
from .finding import Fault, Judged, Verdict

_ORDER: tuple[Verdict, ...] = ("cause", "contributor", "suspect")
# From this impact on a fault is an outage, at least in part, and stands above all that is merely slow.
OUTAGE = 0.5
# What a finding of a model or of settings weighs where one host alone is slow: peers with the same model and settings
# are well, so that the machine comes first unless the finding explains more than twice as much.
UNLIKE = 0.5
# What a cause makes happen by itself, so that mending it mends that too. Only where it says nothing new: a fault that
# merely makes another more likely is not here. A server with less CPU time than it needs queues, fills its batches'
# queue, wakes late and looks overloaded; one whose process was ended loads again and again.
_STARVED = ("model.overload", "batching.queue_full", "model.late_work", "model.giant_requests")
EXPLAINS: Mapping[str, tuple[str, ...]] = {
    "cpu.throttled": (*_STARVED, "cpu.neighbour", "cpu.oversubscribed", "model.cpu_ops"),
    "cpu.neighbour": (*_STARVED, "cpu.oversubscribed"),
    "cpu.drift": (*_STARVED, "cpu.oversubscribed", "memory.remote"),
    "cpu.oversubscribed": _STARVED,
    "cpu.governor": _STARVED,
    "cpu.thermal": (*_STARVED, "cpu.governor"),
    "cpu.steal": (*_STARVED, "cpu.neighbour", "cpu.oversubscribed"),
    "memory.pressure": _STARVED,
    "memory.both_versions": ("memory.limit", "memory.growth", "models.reload_loop", "server.restarts"),
    "memory.growth": ("memory.limit", "memory.pressure"),
    "memory.limit": ("model.load_fails", "server.restarts"),
    "model.load_fails": ("server.restarts",),
    "batching.sizes": ("server.restarts",),
    "disk.full": ("model.load_fails", "models.base_path"),
    "disk.slow_load": ("model.no_warmup",),
    "gpu.thermal": _STARVED,
    "gpu.power_brake": (*_STARVED, "gpu.thermal", "gpu.power_cap"),
    "gpu.unused": (*_STARVED, "model.cpu_ops"),
    "gpu.foreign": _STARVED,
    "gpu.driver_mismatch": ("gpu.unused", "gpu.lost", "gpu.xid"),
    "gpu.lost": ("gpu.unused",),
    "gpu.xid": ("gpu.lost", "gpu.unused"),
    "gpu.fabric": ("gpu.unused",),
    "gpu.memory_taken": ("gpu.unused", "model.load_fails"),
    "model.overload": ("batching.queue_full", "net.listen_overflow"),
    "model.stuck": ("net.listen_overflow", "batching.queue_full"),
}


@dataclass(frozen=True)
class Finding:
    """What a fault's rule said of a subject, with where it was, and how it ranks.

    ``hosts`` are all hosts on which the same was found. ``explained_by`` is the id of the cause that brings it about.
    ``is_unlike`` tells that it is of a model or of settings, which hosts have in common, where one host alone is slow.
    """

    fault: Fault
    host: str
    judged: Judged
    hosts: tuple[str, ...] = ()
    explained_by: str = ""
    is_unlike: bool = False

    @property
    def verdict(self) -> Verdict:
        """Return the verdict; what another cause explains contributes at most."""
        return "contributor" if self.explained_by and self.judged.verdict == "cause" else self.judged.verdict

    @property
    def score(self) -> float:
        """Return its weight among findings of its verdict: the share explained times confidence, outages above 1."""
        judged = self.judged
        if judged.impact >= OUTAGE:
            return (1 + judged.impact) * judged.confidence
        explained = max(judged.share or 0.0, judged.impact) * judged.confidence
        return explained * UNLIKE if self.is_unlike else explained

    @property
    def command(self) -> str:
        """Return the remedy's command for its hosts and instance."""
        command = self.fault.remedy.command.replace("--limit HOST", f"--limit {','.join(self.hosts or (self.host,))}")
        return command.replace("INSTANCE", self.judged.instance or "INSTANCE").replace("HOST", self.host)


@dataclass(frozen=True)
class Ranked:
    """All that the catalogue said of some hosts."""

    findings: tuple[Finding, ...]
    cleared: tuple[Finding, ...]
    unknown: tuple[Finding, ...]

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """Return the findings of a verdict."""
        return tuple(each for each in self.findings if each.verdict == verdict)


def ranked(
    cases: Iterable[Case], catalogue: Sequence[Fault] | None = None, lone: Collection[tuple[str, str]] = ()
) -> Ranked:
    """Return what the faults of the catalogue say of all hosts, the most likely cause first.

    :param lone: the hosts with the instances that are slower there than on their peers.
    """
    every = faults() if catalogue is None else catalogue
    said = [
        Finding(fault, case.host, each, is_unlike=fault.layer != "resources" and (case.host, each.instance) in lone)
        for case in cases
        for fault in every
        for each in _judge(fault, case)
    ]
    found = _explained([each for each in said if each.judged.verdict in _ORDER])
    return Ranked(
        tuple(sorted(_together(found), key=_key)),
        tuple(each for each in said if each.judged.verdict == "cleared"),
        tuple(each for each in said if each.judged.verdict == "unknown"),
    )


def _judge(fault: Fault, case: Case) -> Sequence[Judged]:
    """Return what a fault says of a host; evidence that it cannot digest is evidence that could not be read."""
    try:
        return [_explained_by_restart(case, each) for each in fault.judge(case)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return [Judged("unknown", 0.0, (), f"its evidence has an unexpected form ({type(error).__name__})")]


def _explained_by_restart(case: Case, judged: Judged) -> Judged:
    """Say of what could not be told of a server why: it is another process than before."""
    is_due = judged.verdict == "unknown" and judged.instance in case.restarted
    return replace(judged, test=restarts.WHY) if is_due else judged


def _key(finding: Finding) -> tuple[Any, ...]:
    judged = finding.judged
    return (
        _ORDER.index(finding.verdict),
        bool(finding.explained_by),
        -round(finding.score, 6),
        LAYERS.index(finding.fault.layer),
        finding.fault.id,
        finding.host,
        judged.instance or "",
        judged.model or "",
    )


def _explained(found: list[Finding]) -> list[Finding]:
    """Mark what a cause on the same host, and on the same instance or the host as a whole, brings about."""
    causes = [each for each in found if each.judged.verdict == "cause"]
    return [replace(each, explained_by=_explanation(each, causes)) for each in found]


def _explanation(finding: Finding, causes: Iterable[Finding]) -> str:
    for cause in causes:
        if finding.fault.id in EXPLAINS.get(cause.fault.id, ()) and _concerns(cause, finding):
            return cause.fault.id
    return ""


def _concerns(cause: Finding, finding: Finding) -> bool:
    """Tell whether a cause reaches a finding: on its host, and on its instance where both name one."""
    mine, theirs = cause.judged.instance, finding.judged.instance
    return cause.host == finding.host and (mine is None or theirs is None or mine == theirs)


def _together(found: Iterable[Finding]) -> list[Finding]:
    """Return one finding, the weightiest, for what several hosts have in common."""
    groups: dict[tuple[Any, ...], list[Finding]] = {}
    for each in found:
        groups.setdefault((each.fault.id, each.verdict, each.judged.instance, each.judged.model), []).append(each)
    return [_weightiest(group) for group in groups.values()]


def _weightiest(group: list[Finding]) -> Finding:
    first = max(group, key=lambda each: each.score)
    hosts = tuple(dict.fromkeys(each.host for each in (first, *group)))
    # A host may have it on several GPUs, disks or interfaces, which only their evidence names.
    here = [first, *(each for each in group if each.host == first.host)]
    proofs = tuple(dict.fromkeys(proof for each in here for proof in each.judged.proofs))
    return replace(first, hosts=hosts, judged=replace(first.judged, proofs=proofs))
