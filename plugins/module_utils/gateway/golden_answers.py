# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden requests from a gateway to the servers of a roll-out, past HAProxy: of a version, and of the one before.

Over REST and gRPC the new version has to answer as expected, and the same over both. How it differs from the version
before, on the same requests, is for people: it is meant to differ.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import WishError
from ..golden import compare, requests
from ..golden.compare import Difference
from ..saved_model import signatures
from ..saved_model.signatures import Signature
from ..serving import golden
from ..serving.client import MOST_ANSWER_BYTES, PREDICT_TIMEOUT_S, Client, ServerError, UnreachableError
from ..serving.golden import Answered
from ..visible_text import told, visible
from . import unary
from .unary import CallError, StatusError, Target

METHOD = "/tensorflow.serving.PredictionService/Predict"
REST, GRPC = "REST", "gRPC"
MOST_ROUND_S = golden.MOST_ROUND_S
# Of failures and outputs the first ones say enough.
MOST_TOLD = golden.MOST_TOLD
MOST_OUTPUTS = 10
MOST_WORDS = 300


@dataclass(frozen=True)
class Server:
    """Where a server answers: an address, its ports, and whether its gRPC takes TLS. ``name`` is for messages."""

    name: str
    address: str
    rest: int
    grpc: int
    encrypts: bool = False


@dataclass(frozen=True)
class Wish:
    """What to ask: the version ``new``, and ``old`` to compare it with; ``origin`` is the requests' file."""

    model: str
    new: int
    old: int
    requests: Sequence[requests.Request]
    origin: str = ""
    authority: str = ""
    certificate: str = ""
    """PEM files for servers that take TLS, as ``unary.secure`` wants them."""


@dataclass
class Found:
    """What one server has answered.

    ``wrong`` are faults of the new version, each in words; ``unproven`` says what kept requests from being asked, which
    is not the version's fault; ``notes`` are for people.
    """

    name: str
    total: int
    asked: int = 0
    over: list[str] = field(default_factory=lambda: [REST])
    wrong: list[str] = field(default_factory=list)
    unproven: str = ""
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; differences that have no measure are null."""
        return {**vars(self), "differences": [_data(each) for each in self.differences]}


def _data(each: Difference) -> dict[str, Any]:
    finite = {key: getattr(each, key) if math.isfinite(getattr(each, key)) else None for key in ("max_abs", "max_rel")}
    texts = {key: visible(getattr(each, key)) for key in ("output", "where", "note")}
    return {**vars(each), **finite, **texts}


class Voice:
    """One version of a model at one server. ``silent`` says why gRPC is not used, once that is known."""

    def __init__(self, wish: Wish, version: int, server: Server) -> None:
        self.wish, self.model, self.version = wish, wish.model, version
        self.client = Client(server.rest, server.address)
        self.known: Mapping[str, Signature] = {}
        self.silent = ""
        self.target = Target(server.address, server.grpc)
        if server.encrypts:
            try:
                context = unary.secure(wish.authority, wish.certificate)
                self.target = Target(server.address, server.grpc, context)
            except CallError as error:
                self.silent = str(error)

    def meet(self) -> None:
        """Read the signatures. Raises UnreachableError, and ServerError for a version that does not serve."""
        self.known = signatures.of_metadata(self.client.metadata(self.model, version=self.version))

    def over_rest(self, request: requests.Request) -> Answered:
        """Return what comes of a request over REST. Raises UnreachableError."""
        return golden.answered(self.client, self.model, request, self.known, version=self.version)

    def over_grpc(self, request: requests.Request) -> Answered | None:
        """Return the same over gRPC; None where it cannot go that way."""
        signature = self.known.get(requests.signature_name(request))
        if self.silent or signature is None:
            return None
        try:
            body = requests.grpc_body(request, self.model, signature, self.version)
        except (WishError, ValueError):
            return None  # JSON alone holds what the signature does not take
        try:
            reply = unary.call(self.target, METHOD, body, PREDICT_TIMEOUT_S, MOST_ANSWER_BYTES)
            outputs = requests.of_grpc(reply)
        except CallError as error:
            self.silent = str(error)
            return None
        except StatusError as error:
            status = requests.status_of_grpc(error.code)
            words = requests.fault_of_error(request, status, str(error))
            return Answered(request, None, None, [words] if words else [], status)
        except ValueError as error:
            return Answered(request, None, None, [f"its answer is no prediction: {error}"])
        return Answered(request, outputs, None, requests.faults(request, outputs))


def ask(wish: Wish, server: Server, before: Server | None, now: Callable[[], float] = time.monotonic) -> Found:
    """Ask ``server`` for the new version, and ``before`` for the old one, where there is a server that has it."""
    found, end = Found(server.name, len(wish.requests)), now() + MOST_ROUND_S
    new = Voice(wish, wish.new, server)
    old = _met(Voice(wish, wish.old, before), found) if before else None
    differences: list[Difference] = []
    try:
        new.meet()
        for differing in _round(wish, new, old, found, end, now):
            differences += differing
    except UnreachableError as error:
        found.unproven = str(error)
    except ServerError as error:  # of the metadata alone
        found.wrong.append(f"version {wish.new} does not serve: {error}")
    _finish(found, new, old, differences)
    return found


def _round(
    wish: Wish, new: Voice, old: Voice | None, found: Found, end: float, now: Callable[[], float]
) -> Iterator[list[Difference]]:
    """Send the requests one after another, and yield how the versions differ. Raises UnreachableError."""
    for each in wish.requests:
        # The latency is proven on the host, without the network between.
        request = {**each, "max_latency_ms": None}
        if now() > end:
            asked = f"only {found.asked} of {found.total} golden requests"
            found.unproven = f"{asked} were answered in {MOST_ROUND_S:.0f} s"
            return
        answers = _answers(new, request)
        busy = [one.faults[0] for one in answers.values() if one.faults and one.status in golden.PASSING]
        if busy:
            found.unproven = f"it has no room for {golden.named(request, wish.origin)}: {told(busy[0], MOST_WORDS)}"
            return
        found.asked += 1
        found.wrong += _faults(wish, new, request, answers, found)
        if old and not request.get("must_fail"):
            try:
                yield _beside(old, request, answers, found)
            except UnreachableError as error:
                found.notes.append(f"{wish.old} is not asked any more: {error}")
                old = None


def _answers(new: Voice, request: requests.Request) -> dict[str, Answered]:
    found = {REST: new.over_rest(request)}
    over_grpc = new.over_grpc(request)
    return {**found, GRPC: over_grpc} if over_grpc else found


def _faults(
    wish: Wish, new: Voice, request: requests.Request, answers: Mapping[str, Answered], found: Found
) -> Iterator[str]:
    """Yield what is wrong with the new version's answers to one request."""
    by_words: dict[str, list[str]] = {}
    for protocol, each in answers.items():
        if each.faults:
            by_words.setdefault(told("; ".join(each.faults), MOST_WORDS), []).append(protocol)
    name = golden.named(request, wish.origin)
    for words, protocols in by_words.items():
        yield f"{name} over {' and '.join(protocols)}: {words}"
    outputs = [each.outputs for each in answers.values() if each.outputs is not None]
    if by_words or len(outputs) < 2:
        return
    words = compare.parting(request, *outputs)
    again = new.over_rest(request).outputs if words else None
    if again is not None and compare.parting(request, outputs[0], again):
        # No two calls of it are alike, so two protocols tell nothing.
        note = f"answers of {wish.new} vary from call to call: {name}"
        found.notes += [note] if not any(each.startswith(note.partition(":")[0]) for each in found.notes) else []
    elif words:
        yield f"{name}: {told(words, MOST_WORDS)}"


def _met(old: Voice, found: Found) -> Voice | None:
    try:
        old.meet()
    except (UnreachableError, ServerError) as error:
        found.notes.append(f"not compared with {old.version}: {told(str(error), MOST_WORDS)}")
        return None
    return old


def _beside(old: Voice, request: requests.Request, answers: Mapping[str, Answered], found: Found) -> list[Difference]:
    """Return how the versions differ, over gRPC where both have answered that way: its numbers are the exact ones."""
    other = old.over_grpc(request) if GRPC in answers else None
    protocol = GRPC if other and other.outputs is not None else REST
    other = other if other and protocol == GRPC else old.over_rest(request)
    mine = answers[protocol].outputs
    if other.outputs is None:
        named = golden.named(request, old.wish.origin)
        found.notes.append(f"{old.version} does not answer {named}: {told('; '.join(other.faults), MOST_WORDS)}")
    if mine is None or other.outputs is None:
        return []
    found.compared += 1
    return compare.differences(str(request.get("name", "")), other.outputs, mine)


def _finish(found: Found, new: Voice, old: Voice | None, differences: Sequence[Difference]) -> None:
    found.differences = compare.merged(differences)
    if new.silent:
        found.notes.insert(0, f"REST alone counts, since {new.target.address} port {new.target.port} {new.silent}")
    else:
        found.over.append(GRPC)
    if old and old.silent and not new.silent:
        found.notes.append(f"compared with {old.version} over REST, since its gRPC {old.silent}")
    found.wrong, found.notes = ([told(each, 2 * MOST_WORDS) for each in said] for said in (found.wrong, found.notes))
    found.unproven = told(found.unproven, 2 * MOST_WORDS)


# --- words ---------------------------------------------------------------------------------------------------


def text(wish: Wish, found: Sequence[Found]) -> str:
    """Return for people what all servers have answered."""
    return "\n".join(line for each in found for line in _lines(wish, each))


def _lines(wish: Wish, found: Found) -> Iterator[str]:
    asked = f"{_counted(found.asked, 'golden request')} over {' and '.join(found.over)}"
    fine = "" if found.unproven else ": all as expected"
    judged = f": {_counted(len(found.wrong), 'fault')}" if found.wrong else fine
    yield visible(f"{wish.model} {wish.new} on {found.name}, {asked}{judged}")
    for each in (*found.wrong[:MOST_TOLD], *([found.unproven] if found.unproven else [])):
        yield visible(f"  {each}")
    if found.compared:
        yield f"  against {wish.old} on the same requests:"
        yield from (visible(f"    {each}") for each in found.differences[:MOST_OUTPUTS])
        more = len(found.differences) - MOST_OUTPUTS
        yield from [f"    and {more} more outputs"] if more > 0 else []
    yield from (visible(f"  {each}") for each in found.notes[: MOST_TOLD + 1])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def verdict(wish: Wish, found: Sequence[Found]) -> dict[str, str]:
    """Return ``wrong``, why the version must not serve, and ``unproven``, what kept it from being asked, in words."""
    wrong = [(each, words) for each in found for words in each.wrong]
    more = f"; and {len(wrong) - MOST_TOLD} more faults" if len(wrong) > MOST_TOLD else ""
    said = "; ".join(f"{words} ({each.name})" if len(found) > 1 else words for each, words in wrong[:MOST_TOLD])
    unproven = [f"{each.name}: {each.unproven}" for each in found if each.unproven]
    return {
        "wrong": visible(f"{wish.model} {wish.new} answers wrongly: {said}{more}") if wrong else "",
        "unproven": visible(f"{wish.model} {wish.new} could not be asked: {'; '.join(unproven)}") if unproven else "",
    }


# --- the module ----------------------------------------------------------------------------------------------


def read(given: Mapping[str, Any]) -> tuple[Wish, list[tuple[Server, Server | None]]]:
    """Return what the module's options say. Raises KeyError, TypeError and ValueError for what is no server."""
    names = ("model", "new", "old", "requests", "origin", "authority", "certificate")
    servers = [(_server(each), _server(each["before"]) if each["before"] else None) for each in given["servers"]]
    return Wish(**{name: given[name] for name in names}), servers


def _server(given: Mapping[str, Any]) -> Server:
    ports = {name: int(given[name]) for name in ("rest", "grpc")}
    return Server(str(given["name"]), str(given["address"]), **ports, encrypts=bool(given["encrypts"]))


def carry_out(wish: Wish, servers: Sequence[tuple[Server, Server | None]]) -> dict[str, Any]:
    """Ask all servers and return the module's result."""
    found = [ask(wish, server, before) for server, before in servers]
    words = text(wish, found) or f"{wish.model} has neither golden requests nor a probe, so {wish.new} is not compared"
    return {"servers": [each.to_json() for each in found], "text": words, **verdict(wish, found)}
