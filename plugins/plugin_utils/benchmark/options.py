# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a user asks of a benchmark, checked before any host is contacted."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from ..measure import turns
from ..measure.interleave import LEAST_S
from . import purposes

Check = Callable[[str, Any], Any]

PROTOCOLS = ("grpc", "rest")
ARRIVALS = ("poisson", "constant")
ENGINES = ("own", "h2load")
SEARCHES = ("standard", "optuna")
# The statistics state an interval from 60 s on, and a later comparison takes 120 s, as does each side of one in turns:
# the length of a run where none is named.
USUAL_DURATION_S = 120.0
# Caches, pools and the allocator settle within the first requests; steady state is looked for after this.
USUAL_WARMUP_S = 5.0
# A search takes some ten stages; three of a minute confirm its result. A tuning takes some twenty trials.
BUDGETS_S = {"benchmark": 900.0, "tune": 1800.0, "profile": 900.0, "optimize": 900.0}
# Where the results go, without a suffix.
OUTPUTS = {
    "benchmark": "benchmark-{instance}",
    "tune": "tuned/{instance}",
    "profile": "profile-{instance}",
    "optimize": "optimized/{instance}",
}
# A trace has every operation of every call: enough calls to see what is usual, and not more than a viewer opens.
PROFILE_RATE = 20.0
# The tracer keeps all events in memory; a minute of a busy server has some gigabytes.
LONGEST_TRACE_S = 60
# Calibration, connections, the last replies, the way of results: what a run takes besides its stages.
BESIDES_S = 600.0
# An hour is where the generator begins to coarsen its series, and a benchmark of a day is monitoring.
LONGEST_S = 24 * 3600.0
# A tenth of a call a second needs over an hour for the 459 requests of a p99.
LEAST_RATE = 0.1
# h2load's best on one machine is some 200,000; what is above it is a slip of the keyboard.
MOST_RATE = 1_000_000.0
MOST_PROCESSES = 256
MOST_CONNECTIONS = 1000
MOST_ITEMS = 1_000_000
MOST_SHARDS = 256

_DURATION = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>ms|s|m|min|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True)
class Options:
    """A benchmark as asked for. Times are in seconds; None is left to the benchmark."""

    instance: str
    host: str | None
    model: str | None
    signature: str | None
    protocol: str
    engine: str
    arrivals: str
    rate: float | None
    duration_s: float | None
    warmup_s: float
    budget_s: float
    slo_ms: float | None
    samples: str | None
    items: int | None
    utilisation: float
    """The share of its capacity that the instance is busy with real callers, 0 to 1, for the advice on shards."""
    shards: tuple[int, ...] | None
    """Numbers of shards to try; empty for those that the request's size suggests."""
    against: str | None
    """The file of an earlier run, or the name of another instance; see ``earlier`` and ``other``."""
    against_host: str | None
    output: str
    tls_ca: str | None
    """A file on the controller with the certificate authority of a server with TLS; the load hosts' own where None."""
    tls_name: str | None
    """The name in the server's certificate, where it is not the address that is called."""
    tls_certificate: str | None
    """A file on the controller with the certificate that callers show to a server that asks for one."""
    tls_key: str | None
    """The file with its key: on the controller, or on every load host with ``tls_key_remote``."""
    tls_key_remote: bool
    processes: int | None
    connections: int
    timeout_s: float
    seed: int
    search: str
    """Who proposes settings to a tuning."""
    trials: int
    """How many settings a tuning measures at most."""
    stage_s: float
    """How long a stage of a trial takes; those of the best settings take six times as long."""
    trace_s: int
    """How long a trace takes."""
    despite_differences: bool
    """Whether runs under different conditions are compared all the same."""

    @property
    def longest_s(self) -> float:
        """The longest that the load may last, for whatever watches the host meanwhile."""
        if self.other:
            return BESIDES_S + 2 * self.turns_s
        searches = self.kind != "fixed" and not self.against
        measured = self.budget_s if searches else self.duration_s or self.budget_s
        return BESIDES_S + 2 * measured

    @property
    def kind(self) -> str:
        """What is measured: the knee, one rate, the shards of a request, or two instances in turns."""
        if self.other:
            return "turns"
        return "shards" if self.shards is not None else "fixed" if self.rate is not None else "knee"

    @property
    def earlier(self) -> str | None:
        """The file of an earlier run to compare with: a path, or what ends like one."""
        return self.against if self.against and _is_path(self.against) else None

    @property
    def other(self) -> str | None:
        """The name of another instance, which is measured in turns with this one."""
        return None if self.earlier else self.against

    @property
    def blocks(self) -> list[turns.Turn]:
        """The blocks of a comparison with another instance."""
        return turns.turns(math.ceil(self.duration_s or USUAL_DURATION_S), self.seed)

    @property
    def turns_s(self) -> float:
        """The seconds that those blocks take, each with its warm-up."""
        return sum(self.warmup_s + turn.seconds for turn in self.blocks)


def seconds(least: float, most: float = LONGEST_S) -> Check:
    """Return a check of a time such as ``60s``, ``5m`` or a number of seconds."""

    def check(path: str, value: Any) -> float:
        found = _DURATION.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        if found is None:
            raise WishError(path, f"is {described(value)}", "give a time such as 60s, 5m or 1h")
        time = float(found["number"]) * _UNITS[found["unit"]]
        if not least <= time <= most:
            raise WishError(path, f"is {described(value)}", f"give a time from {least:g}s to {most:g}s")
        return time

    return check


def number(least: float, most: float) -> Check:
    """Return a check of a number within bounds, which may be text."""

    def check(path: str, value: Any) -> float:
        try:
            found = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            found = float("nan")
        if not least <= found <= most:
            raise WishError(path, f"is {described(value)}", f"give a number from {least:g} to {most:g}")
        return found

    return check


def whole(least: int, most: int) -> Check:
    """Return a check of a whole number within bounds, which may be text."""

    def check(path: str, value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,12}", str(value)) or not least <= int(value) <= most:
            raise WishError(path, f"is {described(value)}", f"give a whole number from {least} to {most}")
        return int(value)

    return check


def one_of(choices: Sequence[str]) -> Check:
    """Return a check of a word out of a few."""

    def check(path: str, value: Any) -> str:
        if value not in choices:
            raise WishError(path, f"is {described(value)}", f"use one of: {', '.join(choices)}")
        return str(value)

    return check


def boolean(path: str, value: Any) -> bool:
    """Check a truth value, which may be text."""
    words = {"true": True, "yes": True, "false": False, "no": False}
    if not isinstance(value, (bool, str)) or str(value).lower() not in words:
        raise WishError(path, f"is {described(value)}", "use true or false")
    return words[str(value).lower()]


def text(path: str, value: Any) -> str:
    """Check a name or a path."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise WishError(path, f"is {described(value)}", "give a text")
    return str(value).strip()


def shard_counts(path: str, value: Any) -> tuple[int, ...]:
    """Check ``auto`` or numbers of shards, as a list or as text with commas."""
    if value == "auto":
        return ()
    listed = value if isinstance(value, list) else str(value).split(",")
    check = whole(1, MOST_SHARDS)
    try:
        found = {check(path, str(each).strip()) for each in listed}
    except WishError:
        raise WishError(path, f"is {described(value)}", "use auto, or numbers of shards such as 1,2,4") from None
    return tuple(sorted(found | {1}))


FIELDS: Mapping[str, tuple[Check, Any]] = {
    "instance": (text, None),
    "host": (text, None),
    "model": (text, None),
    "signature": (text, None),
    "protocol": (one_of(PROTOCOLS), "grpc"),
    "engine": (one_of(ENGINES), "own"),
    "arrivals": (one_of(ARRIVALS), "poisson"),
    "rate": (number(LEAST_RATE, MOST_RATE), None),
    "duration": (seconds(1), None),
    "warmup": (seconds(0, 3600), USUAL_WARMUP_S),
    "budget": (seconds(30), None),
    "slo": (number(0.01, 3_600_000), None),
    "samples": (text, None),
    "items": (whole(1, MOST_ITEMS), None),
    "shards": (shard_counts, None),
    "utilisation": (number(0, 1), 0.0),
    "against": (text, None),
    "against_host": (text, None),
    "output": (text, None),
    "tls_ca": (text, None),
    "tls_name": (text, None),
    "tls_certificate": (text, None),
    "tls_key": (text, None),
    "tls_key_remote": (boolean, False),
    "processes": (whole(1, MOST_PROCESSES), None),
    "connections": (whole(1, MOST_CONNECTIONS), 4),
    "timeout": (seconds(0.01, 3600), 10.0),
    "seed": (whole(0, 2**31), 1),
    "search": (one_of(SEARCHES), "standard"),
    "trials": (whole(2, 1000), 20),
    "stage": (seconds(1, 600), 10.0),
    "seconds": (whole(1, LONGEST_TRACE_S), 10),
    "despite_differences": (boolean, False),
}
"""The variables of playbooks/benchmark.yml and tune.yml: the check of each, and what stands for it where it is not
given. Those of one playbook alone are in ``purposes``."""

# Variables are named for people, fields with their units.
RENAMED = {
    "duration": "duration_s",
    "warmup": "warmup_s",
    "budget": "budget_s",
    "timeout": "timeout_s",
    "slo": "slo_ms",
    "stage": "stage_s",
    "seconds": "trace_s",
}


def read(given: Mapping[str, Any], purpose: str = "benchmark") -> Options:
    """Return the options of a benchmark, or of a tuning; all refusals are raised at once as WishError."""
    refusals, found = Refusals(), {}
    for name in sorted(set(given) - set(FIELDS)):
        refusals.add(WishError(name, "is no variable of a benchmark", nearest(name, FIELDS) or "remove it"))
    for refusal in purposes.misplaced(given, purpose):
        refusals.add(refusal)
    for name, (check, default) in FIELDS.items():
        value = given.get(name)
        found[name] = default if value in (None, "") else refusals.check(check, name, value)
    if given.get("instance") in (None, ""):
        refusals.add(WishError("instance", "is missing", "name one with -e instance=..."))
    refusals.stop()
    found["output"] = found["output"] or OUTPUTS[purpose].format(**found)
    found["budget"] = found["budget"] or BUDGETS_S[purpose]
    if purpose == "profile":
        found["rate"] = found["rate"] or PROFILE_RATE
    options = Options(**{RENAMED.get(name, name): value for name, value in found.items()})
    _refuse_contradictions(options, refusals)
    earlier, protocol = options.earlier is not None, options.protocol
    for problem in purposes.idle(given, kind=options.kind, earlier=earlier, engine=options.engine, protocol=protocol):
        refusals.add(problem)
    for problem in _in_turns(options, bool(given.get("budget"))):
        refusals.add(problem)
    refusals.stop()
    return options


def _in_turns(options: Options, has_budget: bool) -> Iterator[WishError]:
    """Yield what keeps an instance from being measured in turns with another one."""
    if not options.other:
        if options.against_host:
            yield WishError("against_host", "belongs to another instance", "name that instance with -e against=...")
        return
    if options.rate is None and options.shards is None:
        problem = "is missing, and two instances in turns are sent one rate"
        yield WishError("rate", problem, "give one that both carry, such as 70 % of the lower knee")
    if options.duration_s is not None and options.duration_s < LEAST_S:
        problem = f"is {options.duration_s:g} s, and a comparison takes {LEAST_S} s of each side"
        yield WishError("duration", problem, "give a longer one, or none")
    elif has_budget and options.budget_s < options.turns_s:
        problem = f"is {options.budget_s:g} s, and the blocks of both sides take {options.turns_s:g} s"
        yield WishError("budget", problem, "give a longer one, or a shorter duration")


def _is_path(text: str) -> bool:
    return text.endswith(".json") or os.sep in text


def _refuse_contradictions(options: Options, refusals: Refusals) -> None:
    """Refuse variables that exclude each other."""
    for contradicts, name, problem, remedy in (
        (
            options.shards is not None and options.rate is not None,
            "rate",
            "has no meaning beside shards, which are measured at rates of their own",
            "remove one of them",
        ),
        (
            options.shards is not None and options.against is not None,
            "against",
            "compares runs at one rate, and shards have several",
            "remove one of them",
        ),
        (
            options.shards is not None and options.engine == "h2load",
            "engine",
            "is h2load, which sends one body only",
            "use engine=own for shards",
        ),
        (
            bool(options.tls_certificate) != bool(options.tls_key),
            "tls_certificate" if options.tls_key else "tls_key",
            f"is missing beside {'tls_key' if options.tls_key else 'tls_certificate'}",
            "give both, or neither",
        ),
        (
            options.tls_certificate is not None and options.engine == "h2load",
            "engine",
            "is h2load, which shows no certificate to a server",
            "use engine=own",
        ),
        (
            options.tls_key_remote and not _is_remote(options.tls_key),
            "tls_key",
            "is not the whole path of a file on the load hosts",
            "begin it with a slash, or remove tls_key_remote",
        ),
        (
            options.earlier is not None and _absolute(options.earlier) == _absolute(f"{options.output}.json"),
            "against",
            "is the file that this run writes",
            "give another output",
        ),
        (
            options.kind != "fixed" and options.duration_s is not None and not options.against,
            "duration",
            "belongs to a rate",
            "give rate too, or limit a search by budget",
        ),
    ):
        if contradicts:
            refusals.add(WishError(name, problem, remedy))


def _is_remote(path: str | None) -> bool:
    return path is not None and path.startswith("/")


def _absolute(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))
