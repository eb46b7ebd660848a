# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether two documents were measured under the same conditions.

What differs between two runs besides what was meant to differ may explain the whole difference. Each such thing is a
sentence, and runs with one that decides are compared only on the user's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from .validity import CLOCK_SPREAD, PRESSURE_SHARE, THROTTLED_SHARE

Document = Mapping[str, Any]
Words = tuple[str, str]

# Characters of a value in a sentence: the longest names of CPUs, and more than enough of a digest.
LONGEST = 48
# Sizes of requests that differ by less are the same mix, drawn anew.
SIZE_SPREAD = 0.01

# What follows the two values of something that differs.
OF_RUNS: Words = ("before", "now")
OF_SIDES: Words = ("for B", "for A")
# Flags that end so are of an instance's own place: port, rest_api_port, model_config_file, model_base_path.
OWN = ("port", "_file", "_path")


@dataclass(frozen=True)
class Difference:
    """One difference as a sentence; with ``decides`` it alone forbids a silent comparison."""

    text: str
    decides: bool = True


# Conditions that are equal or not, with the words for them. Other settings are what most comparisons are made for; they
# are said, and the user who changed them gives the word.
_EQUAL = {
    "plan_digest": "the plan",
    "server_version": "the server's version",
    "model_versions": "the model versions",
    "cpu": "the CPU model",
    "cpus": "the CPUs of the instance",
    "governor": "the governor of the clocks",
    "boost": "turbo",
    "clocksource": "the clock source",
}
# These change with any upgrade, and seldom a latency.
_ASIDE = {"kernel": "the kernel", "collection_version": "the collection's version"}
# Of the document itself.
_RUN = {
    "host": "the host",
    "instance": "the instance",
    "protocol": "the protocol",
    "arrivals": "the arrivals",
    "load_hosts": "the load hosts",
    "slo_p99_ms": "the objective",
}
# A host or load hosts of other names may be just as good, as the conditions tell; the objective changes no latency.
_RUN_ASIDE = frozenset({"host", "instance", "load_hosts", "slo_p99_ms"})


def differences(before: Document, after: Document) -> list[Difference]:
    """Return what differs between two runs, besides their figures."""
    first, second = before["conditions"], after["conditions"]
    return [
        *_unequal(_RUN, before, after, _RUN_ASIDE),
        *_unequal(_EQUAL, first, second),
        *_unequal(_ASIDE, first, second, frozenset(_ASIDE)),
        *_requests(before["requests"], after["requests"]),
        *_clocks(first.get("mhz"), second.get("mhz")),
        *_held_up(before, after),
    ]


def between(b: Document, a: Document) -> list[str]:
    """Return what differs between two instances that were measured in turns, as sentences.

    The differences are what they are compared for, so none forbids it. What one run does to both cannot differ.
    """
    first, second = b["conditions"], a["conditions"]
    found = [
        *_unequal({"slo_p99_ms": _RUN["slo_p99_ms"]}, b, a, words=OF_SIDES),
        *_unequal(_EQUAL, first, second, words=OF_SIDES),
        *_unequal(_ASIDE, first, second, words=OF_SIDES),
        *_settings(first["settings"], second["settings"]),
        *_clocks(first.get("mhz"), second.get("mhz"), OF_SIDES),
        *_held_up(b, a, OF_SIDES),
    ]
    return [difference.text for difference in found]


def _settings(b: Mapping[str, Any], a: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield the settings that differ, without the ports and files that each instance has of its own."""
    own = [
        # As a command line has them, where the flags of a process that follows no plan come from.
        {name: str(value).lower() for name, value in each["flags"].items() if not name.endswith(OWN)}
        for each in (b, a)
    ]
    yield from _set("the flag ", own[0], own[1])
    first, second = b["batching"], a["batching"]
    if first is None or second is None:
        yield from _set("", {"batching": first is not None}, {"batching": second is not None})
    else:
        yield from _set("", first, second)


def _set(what: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    unset = dict.fromkeys(sorted({*first, *second}), "not set")
    return _unequal({name: f"{what}{name}" for name in unset}, {**unset, **first}, {**unset, **second}, words=OF_SIDES)


def same_plan(before: Document, after: Document) -> bool:
    """Return whether both runs had one plan."""
    return bool(before["conditions"]["plan_digest"] == after["conditions"]["plan_digest"])


def refusal(found: list[Difference]) -> str:
    """Return why two runs are not compared without the user's word, as a sentence; empty where they may be."""
    deciding = [difference.text for difference in found if difference.decides]
    return f"not compared, since {'; '.join(deciding)}" if deciding else ""


def _unequal(
    names: Mapping[str, str],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    aside: frozenset[str] = frozenset(),
    words: Words = OF_RUNS,
) -> Iterator[Difference]:
    for key, name in names.items():
        old, new = before.get(key), after.get(key)
        if old != new:
            yield Difference(f"{name}: {_shown(old)} {words[0]}, {_shown(new)} {words[1]}", key not in aside)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in sorted(value.items()))
    # A digest is told apart by less.
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)[:LONGEST]


def _requests(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if before["digest"] == after["digest"]:
        return
    old, new = before["items"]["mean"], after["items"]["mean"]
    text = f"other requests were sent: {old:g} items each before, {new:g} now"
    yield Difference(text, abs(new - old) > SIZE_SPREAD * max(old, new) or before["source"] != after["source"])


def _clocks(before: Any, after: Any, words: Words = OF_RUNS) -> Iterator[Difference]:
    if not before or not after:
        return
    old, new = median(before), median(after)
    if min(old, new) < (1 - CLOCK_SPREAD) * max(old, new):
        yield Difference(
            f"the clocks of the CPUs: {old:,.0f} MHz {words[0]}, {new:,.0f} MHz {words[1]}, more than"
            f" {CLOCK_SPREAD:.0%} apart"
        )


def _held_up(before: Document, after: Document, words: Words = OF_RUNS) -> Iterator[Difference]:
    for key, limit, text in (
        ("throttled_us", THROTTLED_SHARE, "a CPU quota held the server up"),
        ("psi_cpu_some_us", PRESSURE_SHARE, "threads of the server waited for a CPU"),
    ):
        old, new = _share(before, key), _share(after, key)
        if max(old, new) > limit and min(old, new) <= limit:
            yield Difference(f"{text} for {old:.1%} of the time {words[0]} and for {new:.1%} {words[1]}")


def _share(document: Document, key: str) -> float:
    """Return the share of time that all stages of a run spent in something."""
    told = [stage for stage in document["stages"] if stage.get("host") and stage.get("result")]
    whole = sum(stage["result"]["duration_s"] for stage in told)
    return sum((stage["host"].get(key) or 0) for stage in told) / 1e6 / whole if whole else 0.0
