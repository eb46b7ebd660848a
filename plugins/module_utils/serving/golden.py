# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A round of golden requests against one server over REST: every one has to be right, each time.

A request that fails is never sent again to see whether it fails once more: of a model that answers wrongly now and
then, a second try would prove nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..golden import requests
from ..load.messages import Tensor
from ..saved_model import signatures
from ..saved_model.signatures import Signature, shown
from ..visible_text import shortened, told
from .client import Client, ServerError, UnreachableError

# "Not now": the queue is full or the label table is not there yet. Any other error is final.
PASSING = (429, 503)
# A round is part of the start of an instance; one answer may take half a minute.
MOST_ROUND_S = 120.0
# The first failures say enough.
MOST_TOLD = 3
MOST_FAULT = 300
ANSWER_CHARS = 200


class Answered(NamedTuple):
    """What came of one request: its outputs unless it was refused, its latency, and what is wrong with it.

    ``status`` is that of a refusal.
    """

    request: requests.Request
    outputs: Mapping[str, Tensor] | None
    latency_ms: float | None
    faults: Sequence[str]
    status: int | None = None
    answer: Any = None


@dataclass
class Round:
    """The result of a round: how many requests were sent, the failures in words, and the latencies of answers.

    ``passing`` is true where nothing but the server's queue stood in the way.
    """

    origin: str
    total: int
    asked: int = 0
    failures: list[str] = field(default_factory=list)
    passing: bool = True
    latencies: list[float] = field(default_factory=list)
    answer: str = ""

    @property
    def note(self) -> str:
        """Return the failures in one sentence; empty if there are none."""
        more = len(self.failures) - MOST_TOLD
        rest = f"; and {more} more of {self.total} golden requests fail" if more > 0 else ""
        return "; ".join(self.failures[:MOST_TOLD]) + rest

    @property
    def words(self) -> str:
        """Return what was proven."""
        return f"{self.asked - len(self.failures)} of {self.total} requests of {shown(self.origin)}"


def each(
    client: Client, model: str, wanted: Sequence[requests.Request], label: str | None = None, version: int | None = None
) -> Iterator[Answered]:
    """Send requests one after another and yield what came of each.

    Without a label or a version, the server chooses the version as for callers. Raises UnreachableError, and
    ServerError if the model has no metadata.
    """
    known = signatures.of_metadata(client.metadata(model, label, version))
    for request in wanted:
        yield answered(client, model, request, known, label, version)


def answered(
    client: Client, model: str, request: requests.Request, known: Mapping[str, Signature], label: str | None = None,
    version: int | None = None,
) -> Answered:  # fmt: skip
    """Send one request and return what came of it; ``known`` are the model's signatures. Raises UnreachableError."""
    try:
        answer, latency = client.predict(model, requests.rest_body(request), label, version)
    except ServerError as error:
        words = requests.fault_of_error(request, error.code, str(error))
        return Answered(request, None, None, [words] if words else [], error.code)
    signature = known.get(requests.signature_name(request))
    if signature is None:
        return Answered(request, None, latency, ["its signature is not in the metadata"], answer=answer)
    try:
        outputs = requests.of_rest(request, answer, signature)
    except ValueError as error:
        return Answered(request, None, latency, [f"its answer is none of its signature: {error}"], answer=answer)
    return Answered(request, outputs, latency, requests.faults(request, outputs, latency), answer=answer)


def ask(
    client: Client, model: str, golden: Mapping[str, Any], now: Callable[[], float] = time.monotonic,
    version: int | None = None,
) -> Round:  # fmt: skip
    """Send the golden requests of a plan's entry, and judge each. Raises UnreachableError, and ServerError likewise.

    Without a version, the server chooses it as for callers. A wrong answer stays one where a later request gets none:
    whoever asks again for want of an answer would give the model a second try.

    Where a request has a latency to keep, the first one that must be answered is sent once before, and only its values
    count: the first request after a pause suffers from cold caches.
    """
    found = Round(str(golden.get("file", "")), len(golden["requests"]))
    try:
        _ask(found, client, model, golden["requests"], now, version)
    except UnreachableError:
        if found.passing:
            raise
    return found


def _ask(
    found: Round, client: Client, model: str, wanted: Sequence[requests.Request], now: Callable[[], float],
    version: int | None,
) -> None:  # fmt: skip
    began = now()
    opening = [request for request in wanted if not request.get("must_fail")][:1]
    if any("max_latency_ms" in request for request in wanted):
        for one in each(client, model, [{**first, "max_latency_ms": None} for first in opening], None, version):
            _enter(found, one)
        found.latencies.clear()
    for one in () if found.failures else each(client, model, wanted, None, version):
        found.asked += 1
        _enter(found, one)
        if now() - began > MOST_ROUND_S and found.asked < found.total:
            words = f"only {found.asked} of {found.total} golden requests were answered within {MOST_ROUND_S:.0f} s"
            found.failures.append(words)
            found.passing = False
            break


def _enter(found: Round, one: Answered) -> None:
    if one.faults:
        faults = told("; ".join(one.faults), MOST_FAULT)
        found.failures.append(f"{named(one.request, found.origin)}: {faults}")
        found.passing = found.passing and one.status in PASSING
    elif one.latency_ms is not None:
        found.latencies.append(one.latency_ms)
        found.answer = found.answer or shortened(json.dumps(one.answer), ANSWER_CHARS)


def named(request: requests.Request, origin: str) -> str:
    """Return how a message names a request of the file ``origin``."""
    line = f":{request['line']}" if "line" in request else ""
    return f"golden request {told(str(request.get('name', '')), MOST_FAULT)!r} ({shown(origin)}{line})"
