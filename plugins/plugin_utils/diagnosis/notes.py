# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is no fault of the catalogue, and tells where to look: peers, another day, and what does not serve.

A host that is slow alone has something that its peers have not, so its machine comes first. A fleet that is slow as a
whole has something in common: the model, or the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from .case import Case
from .derived import keeps_objective
from .instance import Instance
from .reading import at, robust_z, text
from .versions import available, models

# The modified z-score that is usual for an outlier: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993);
# https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm
APART = 3.5
# The least deviation that is assumed, as a part of the median: so a lone host is slower than its peers by a third at
# least, which is more than two hosts of a kind differ by. Below 0.2 ms the clocks of the server's page tell nothing.
LEAST_PART, LEAST_MS = 0.1, 0.2
# Of two others none can be called the usual one, but of three hosts two can agree.
LEAST_HOSTS = 3
# Means of ten seconds differ by a tenth from one minute to the next; half as much again does not come by itself.
SLOWER = 1.5

Kind = Literal["unplanned", "down", "lone", "fleet", "changed"]


@dataclass(frozen=True)
class Note:
    """A line of the report, on some hosts and maybe an instance."""

    kind: Kind
    hosts: tuple[str, ...]
    instance: str | None
    text: str


def notes(cases: Sequence[Case]) -> list[Note]:
    """Return the lines of a diagnosis, what does not serve at all first."""
    return [*_unplanned(cases), *_down(cases), *_slow(cases), *_changed(cases)]


def lone(noted: Iterable[Note]) -> frozenset[tuple[str, str]]:
    """Return the hosts with the instances that are slower there than on their peers."""
    return frozenset((host, note.instance or "") for note in noted if note.kind == "lone" for host in note.hosts)


# What does not serve.


def _unplanned(cases: Iterable[Case]) -> Iterator[Note]:
    for case in cases:
        if case.plan is None and not case.evidence.get("gateway"):
            told = f"{case.host} has no plan in force, so nothing of the fleet serves there; run site.yml"
            yield Note("unplanned", (case.host,), None, told)


def _down(cases: Iterable[Case]) -> Iterator[Note]:
    for case in cases:
        for instance in case.instances:
            unit = instance.evidence.get("unit")
            state, result = text(at(unit, "state")), text(at(unit, "result"))
            # Without its unit nobody has looked for a process.
            if instance.running is False and state:
                said = f"{state}, {result}" if result not in ("", "success") else state
                told = f"{case.host}.{instance.name} does not run (its unit: {said})"
                yield Note("down", (case.host,), instance.name, told)


# Against the peers.


def _slow(cases: Sequence[Case]) -> Iterator[Note]:
    for name, having in sorted(_by_instance(cases).items()):
        known = {case.host: ms for case, instance in having if (ms := latency_ms(instance)) is not None}
        if len(known) < LEAST_HOSTS:
            continue
        alone = {host: ms for host, ms in known.items() if is_apart(ms, _others(known, host))}
        if alone:
            for host, ms in alone.items():
                usual = median(_others(known, host))
                told = f"a lone slow host: {host}.{name} takes {ms:.3g} ms, and its peers {usual:.3g} ms"
                told += "; look at its machine before the model"
                yield Note("lone", (host,), name, told)
        else:
            yield from _fleet(name, having, known)


def _by_instance(cases: Iterable[Case]) -> dict[str, list[tuple[Case, Instance]]]:
    found: dict[str, list[tuple[Case, Instance]]] = {}
    for case in cases:
        for instance in case.instances if case.plan else ():
            if instance.used:
                found.setdefault(instance.name, []).append((case, instance))
    return found


def latency_ms(instance: Instance) -> float | None:
    """Return the mean latency in the server: of gRPC where it answers that, else of REST, whose calls take longer."""
    return instance.request_ms("GRPC") or instance.request_ms("REST")


def _others(known: dict[str, float], host: str) -> list[float]:
    return [ms for each, ms in known.items() if each != host]


def is_apart(ms: float, others: Sequence[float]) -> bool:
    """Tell whether a latency lies above those of the peers by more than they differ from each other."""
    if len(others) < LEAST_HOSTS - 1:
        return False
    floor = max(LEAST_PART * median(others), LEAST_MS)
    # Two peers have a deviation of their own as well: half of what lies between them.
    padded = others if len(others) >= LEAST_HOSTS else [*others, median(others)]
    score = robust_z(ms, padded, floor)
    return score is not None and score >= APART


def _fleet(name: str, having: Sequence[tuple[Case, Instance]], known: dict[str, float]) -> Iterator[Note]:
    missed = [case.host for case, instance in having if keeps_objective(case, instance) is False]
    before = [ms for case, _instance in having if (ms := _yesterday(case, name)) is not None]
    usual, hosts = median(known.values()), tuple(known)
    ending = "no host stands out, so look at the model or the load"
    if len(missed) > len(having) / 2:
        told = f"the whole fleet is slow: {len(missed)} of {len(having)} hosts miss the objective of {name}; {ending}"
        yield Note("fleet", hosts, name, told)
    elif len(before) >= LEAST_HOSTS and usual >= SLOWER * median(before):
        was = median(before)
        told = f"the whole fleet is slower than before: {name} takes {usual:.3g} ms, and took {was:.3g} ms; {ending}"
        yield Note("fleet", hosts, name, told)


def _yesterday(case: Case, name: str) -> float | None:
    found = case.yesterday.instance(name) if case.yesterday else None
    return latency_ms(found) if found and found.used else None


# Against another day.


def _changed(cases: Iterable[Case]) -> Iterator[Note]:
    """Yield what differs from the earlier diagnosis, once for all hosts on which it is the same."""
    found: dict[tuple[str | None, str], list[str]] = {}
    for case in cases:
        for instance, told in _changes(case):
            found.setdefault((instance, told), []).append(case.host)
    for (instance, told), hosts in found.items():
        where = ", ".join(f"{host}.{instance}" if instance else host for host in hosts[:4])
        more = f" and {len(hosts) - 4} more" if len(hosts) > 4 else ""
        yield Note("changed", tuple(hosts), instance, f"changed since the earlier diagnosis: {told} ({where}{more})")


def _changes(case: Case) -> Iterator[tuple[str | None, str]]:
    before = case.yesterday
    if before is None:
        return
    for what in ("kernel", "virtual"):
        yield from _differs(None, what, before.evidence.get(what), case.evidence.get(what))
    for instance in case.instances:
        earlier = before.instance(instance.name)
        if instance.name not in before.names:
            yield instance.name, "the instance is new"
        elif earlier is not None:
            yield from _of_instance(earlier, instance)
    for gone in sorted({each.name for each in before.instances} - {*case.names}):
        yield gone, "the instance is gone"


def _of_instance(before: Instance, now: Instance) -> Iterator[tuple[str | None, str]]:
    name = now.name
    yield from _differs(name, "the digest of the plan", _digest(before), _digest(now))
    releases = (at(each.plan, "server", "version") for each in (before, now))
    yield from _differs(name, "the server's release", *releases)
    for model in models(now):
        was, serves = available(before, model), available(now, model)
        if was is not None and serves is not None:
            yield from _differs(name, f"the versions of {model}", _numbers(was), _numbers(serves))
    if before.used and now.used:
        yield from _latency(name, latency_ms(before), latency_ms(now))


def _digest(instance: Instance) -> str:
    return text(instance.plan.get("digest"))[:12]


def _numbers(versions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(versions))) or "none"


def _differs(instance: str | None, what: str, before: Any, now: Any) -> Iterator[tuple[str | None, str]]:
    # What was not read on either day has not changed.
    if before != now and before not in (None, "") and now not in (None, ""):
        yield instance, f"{what}: {before}, now {now}"


def _latency(name: str, before: float | None, now: float | None) -> Iterator[tuple[str | None, str]]:
    if before and now and not 1 / SLOWER < now / before < SLOWER:
        yield name, f"the mean latency in the server: {before:.3g} ms, now {now:.3g} ms"
