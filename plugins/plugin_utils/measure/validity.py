# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What speaks against a measurement: the client, the host, the server's own counters, its length.

A remark that invalidates says that the figures are not the server's alone. The others say what to keep in mind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load import counters

from .series import seconds
from .statistics import PERCENTILES, needed, wide
from .steady import unsteady, warm_up

Result = Mapping[str, Any]
Samples = Sequence[Mapping[str, Any]]

# A client busier than this delays its own requests: above 70 % of a core, queueing in the client triples
# what it takes for one (1 / (1 - 0.7) = 3.3), and garbage collection and interrupts want their share.
CLIENT_CPU = 0.7
# More late sends than this shift p99 itself, which is about one request in a hundred.
LATE_SHARE = 0.01
# The shortest measurement whose interval is stated as the server's: it holds the jobs that a host runs each minute.
SHORTEST_S = 60
# Less than this answered of what was offered means that the rate is not served. 1 % is what p99 leaves out as well.
ANSWERED = 0.99
# Requests of other callers that leave the load the one that is stated: as many as may be late, and the status calls of
# tfserving-health@ and host_samples, which over REST count as requests.
OTHERS_SHARE = 0.01
PROBES_A_SECOND = 1.0
# Stolen by the hypervisor: 2 % of a CPU's time can move a hundredth of the requests past p99 (fault catalogues of
# guests begin there too). With a tenth, p99 is the hypervisor's.
STEAL_SHARE, STEAL_SPOILS = 0.02, 0.1
# Taken by others on the CPUs of the instance: as much as is tolerated of the hypervisor.
FOREIGN_SHARE = 0.02
# Throttled by a quota: 1 % of the time stands in p99.
THROTTLED_SHARE = 0.01
# PSI "some": a tenth of the time some thread waits for a CPU; the alert level for slices of instances.
PRESSURE_SHARE = 0.1
# Clocks during one run: within 5 %, as much as a comparison of runs tolerates.
CLOCK_SPREAD = 0.05


@dataclass(frozen=True)
class Remark:
    """One thing that speaks against a measurement, as a sentence.

    ``kind`` names the rule: client cpu, late, few, wide, short, unanswered, counters, plan, version, restart, clock,
    throttled, steal, foreign, pressure, unsteady, warm-up.
    """

    kind: str
    text: str
    invalidates: bool = False


# The remarks after which the generator, not the server, is the limit.
GENERATOR = frozenset({"client cpu", "late"})


def judge(result: Result, host: Mapping[str, Any] | None = None, samples: Samples = ()) -> list[Remark]:
    """Return all remarks on the result of one stage.

    :param host: throttled_us, psi_cpu_some_us, steal_share, foreign_cpu_share over the stage; null where unknown.
    :param samples: what the host told while the stage ran, first to last.
    """
    found = [*_client(result), *_length(result), *_server(result), *_course(result)]
    return [*found, *of_host(host or {}, samples, result["duration_s"])]


def of_host(host: Mapping[str, Any], samples: Samples, duration_s: float) -> list[Remark]:
    """Return the remarks that come from the measured host alone; see ``judge``."""
    return [*_host(host, duration_s), *_changes(samples)]


def is_valid(remarks: Sequence[Remark]) -> bool:
    """Return whether no remark invalidates a measurement."""
    return not any(remark.invalidates for remark in remarks)


def _client(result: Result) -> Iterator[Remark]:
    busiest = max(result["cpu"], default=0.0)
    if busiest > CLIENT_CPU:
        text = f"a process of the load generator used {busiest:.0%} of a CPU, more than {CLIENT_CPU:.0%}"
        yield Remark("client cpu", f"{text}: its own delays are in the latencies", True)
    offered, late = result["offered"], result["late"]
    if late > LATE_SHARE * offered:
        text = f"{late:,} of {offered:,} requests were sent more than 1 ms late"
        yield Remark("late", f"{text}, more than {LATE_SHARE:.0%}: the load was not the one that is stated", True)


def _length(result: Result) -> Iterator[Remark]:
    offered, least = result["offered"], needed(PERCENTILES["p99"])
    if offered < least:
        yield Remark("few", f"{offered:,} requests are too few for p99: it takes {least} to claim it")
    elif wide(offered):
        yield Remark("wide", wide(offered))
    if result["duration_s"] < SHORTEST_S:
        text = f"{result['duration_s']:g} s are less than {SHORTEST_S} s"
        yield Remark("short", f"{text}: the interval does not cover what the host does once a minute")


def _server(result: Result) -> Iterator[Remark]:
    offered, ok = result["offered"], result["ok"]
    if ok < ANSWERED * offered:
        text = f"{ok:,} of {offered:,} requests were answered well, less than {ANSWERED:.0%}"
        yield Remark("unanswered", f"{text}: the server does not keep up with the rate")
    yield from _counted(result)


def _counted(result: Result) -> Iterator[Remark]:
    """Set the server's counts against the client's; both include the warm-up."""
    read, whole = result.get("counters"), result["all"]
    if not read:
        return
    answered = counters.grown(read["before"], read["after"])
    sentences = counters.reconcile(whole["sent"], whole["ok"], read["before"], read["after"])
    seconds_in_all = result["warmup_s"] + result["duration_s"]
    probed = OTHERS_SHARE * whole["sent"] + PROBES_A_SECOND * seconds_in_all
    others = sum(answered.values()) - whole["sent"] > probed
    invalidates = others or answered.get(counters.OK, 0) < whole["ok"] or min(answered.values(), default=0) < 0
    for sentence in sentences:
        yield Remark("counters", sentence, invalidates)


def _course(result: Result) -> Iterator[Remark]:
    stage = seconds(result)
    rest = unsteady(stage)
    if rest:
        yield Remark("unsteady", rest)
    begin = warm_up(stage)
    if begin is None:
        yield Remark("warm-up", "the stage never becomes steady: half of it differs from the other half")
    elif begin:
        text = f"the first {begin} s after {result['warmup_s']:g} s of warm-up still differ from the rest"
        yield Remark("warm-up", f"{text}: lengthen the warm-up")


def _host(host: Mapping[str, Any], duration_s: float) -> Iterator[Remark]:
    throttled = (host.get("throttled_us") or 0) / 1e6 / duration_s
    if throttled > THROTTLED_SHARE:
        yield Remark("throttled", f"a CPU quota held the server up for {throttled:.1%} of the time")
    pressure = (host.get("psi_cpu_some_us") or 0) / 1e6 / duration_s
    if pressure > PRESSURE_SHARE:
        yield Remark("pressure", f"for {pressure:.0%} of the time threads of the server waited for a CPU")
    steal = host.get("steal_share") or 0
    if steal > STEAL_SHARE:
        yield Remark("steal", f"the hypervisor took {steal:.1%} of the CPUs' time for others", steal > STEAL_SPOILS)
    foreign = host.get("foreign_cpu_share") or 0
    if foreign > FOREIGN_SHARE:
        yield Remark("foreign", f"other processes took {foreign:.1%} of the CPUs of the instance")


# Keys of a host's samples that stay the same in a valid stage; what a change of them means.
_CONSTANT = {
    "plan_digest": ("plan", "the plan in force changed during the measurement"),
    "server_version": ("version", "the server was exchanged during the measurement"),
    "pid": ("restart", "the server was restarted during the measurement"),
    "versions": ("version", "other model versions were loaded during the measurement"),
}


def _changes(samples: Samples) -> Iterator[Remark]:
    for key, (kind, text) in _CONSTANT.items():
        values = [sample[key] for sample in samples if sample.get(key) is not None]
        if any(value != values[0] for value in values):
            yield Remark(kind, text, True)
    clocks = [mhz for mhz in (_mhz(sample.get("mhz")) for sample in samples) if mhz]
    if clocks and min(clocks) < (1 - CLOCK_SPREAD) * max(clocks):
        text = f"the CPUs ran at {min(clocks):,.0f} to {max(clocks):,.0f} MHz during the measurement"
        yield Remark("clock", f"{text}, a spread of more than {CLOCK_SPREAD:.0%}")


def _mhz(value: Any) -> float:
    """Return the clock of a sample: a number, or the middle one of low, median and high."""
    middle = value[len(value) // 2] if isinstance(value, Sequence) and value else value
    return float(middle) if isinstance(middle, (int, float)) else 0.0
