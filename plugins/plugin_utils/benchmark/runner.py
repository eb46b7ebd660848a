# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The load generator on one load host: started, watched, and its result fetched.

It runs detached from the connection, so that its progress can be read. It ends by itself when nobody has asked for its
progress for a while: a run that is interrupted or killed leaves no load behind.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.keepalive import KEY
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from . import tls

# How often progress is asked for: rare enough to cost a load host nothing, often enough to be followed.
LOOK_S = 1.0
# What the generator may take beyond its stage: start, connections, the last replies, merging.
OVERTIME_S = 60.0
# A stage of an hour with a histogram for each second has some 10 MB.
MOST_RESULT_BYTES = 64 << 20
MOST_STATUS_BYTES = 64 << 10
RUNNING = "running"
# Exit status of the generator where it refuses what it was asked; its sentence is the last line of its log.
REFUSED = 2


class Answer(NamedTuple):
    """What a command on a host gave."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A load host: how to run a command there and put a file, and where the generator is."""

    name: str
    run: Callable[[str], Answer]
    put: Callable[[str, str], None]
    python: str
    program: str
    folder: str

    def command(self, *words: str) -> str:
        """Return the shell command that runs the generator."""
        path = f"PYTHONPATH={shlex.quote(self.program)}"
        return f"{path} {shlex.join([self.python, '-B', '-m', 'tfserving_load', *words])}"


def ask(place: Place, subject: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Have the generator answer at once: ``look`` and ``cores``. Raise WishError with its sentence if it refuses."""
    file = f"{place.folder}/{subject}.json"
    with _with_key(place, question) as asked:
        place.put(file, json.dumps(asked))
        answer = place.run(place.command(subject, file))
    if answer.status != 0:
        raise _refusal(place, answer.err or answer.out)
    return _parsed(place, answer.out)


def measure(
    place: Place,
    what: str,
    spec: Mapping[str, Any],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Run a stage or a calibration (``what`` is ``run`` or ``calibrate``); yield its progress, and last its result.

    :raises WishError: the generator refused or died, or has not ended in time.
    """
    out = f"{place.folder}/out"
    with _with_key(place, spec) as asked:
        _start(place, what, asked, out)
        until = clock() + seconds + OVERTIME_S
        while True:
            status, progress = _look(place, out)
            if status != RUNNING:
                break
            if clock() > until:
                _stop(place, out)
                problem = f"the load generator on {place.name} has not ended in time"
                raise WishError("tfserving_load", problem, "run again")
            if progress:
                yield progress
            sleep(LOOK_S)
    yield _result(place, what, out, status)


@contextmanager
def beside(place: Place, what: str, spec: Mapping[str, Any], seconds: float) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run something of the generator beside a stage of the same load host; yield what waits for its result.

    It ends by itself: nobody asks for its progress meanwhile.
    """
    aside = _aside(place, what)
    out = f"{aside.folder}/out"
    with _with_key(aside, spec) as asked:
        _start(aside, what, asked, out)
        try:
            yield lambda: _awaited(aside, what, out, seconds)
        finally:
            _stop(aside, out)


def begin(place: Place, name: str, spec: Mapping[str, Any], what: str = "run") -> None:
    """Start a stage that goes on when this returns: ``end`` waits for its result, also in another task of the run.

    ``what`` is ``run``, or ``network`` for the calls that ask nothing beside one.
    Nobody asks for its progress meanwhile, so that it has to be shorter than the generator's patience (``keepalive``).
    """
    aside = _aside(place, name)
    _start(aside, what, _key_laid(aside, spec), f"{aside.folder}/out")


def end(place: Place, name: str, seconds: float) -> dict[str, Any]:
    """Return the result of a stage that ``begin`` has started, and leave nothing of it."""
    aside = replace(place, folder=f"{place.folder}/{name}")
    try:
        return _awaited(aside, "run", f"{aside.folder}/out", seconds)
    finally:
        interrupt(aside)
        place.run(f"rm -rf {shlex.quote(aside.folder)}")


def _aside(place: Place, name: str) -> Place:
    aside = replace(place, folder=f"{place.folder}/{name}")
    place.run(f"mkdir -m 0700 {shlex.quote(aside.folder)}")
    return aside


def _awaited(place: Place, what: str, out: str, seconds: float) -> dict[str, Any]:
    until = time.monotonic() + seconds + OVERTIME_S
    while (status := _look(place, out)[0]) == RUNNING:
        if time.monotonic() > until:
            raise WishError("tfserving_load", f"{what} on {place.name} has not ended in time", "run again")
        time.sleep(LOOK_S)
    return _result(place, what, out, status)


def interrupt(place: Place) -> None:
    """End whatever the generator does on this host."""
    _stop(place, f"{place.folder}/out")


@contextmanager
def _with_key(place: Place, question: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what the generator is asked, where a key on the controller is replaced by the file of one on the load host.

    Only its owner can read that file, and it goes with the answer. If the controller goes, the generator removes it.
    """
    try:
        yield _key_laid(place, question)
    finally:
        if ((question.get("target") or {}).get("tls") or {}).get("key_source"):
            place.run(f"rm -f {shlex.quote(_key_file(place))}")


def _key_file(place: Place) -> str:
    return f"{place.folder}/{KEY}"


def _key_laid(place: Place, question: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the caller's key on the load host, where one of the controller is asked for, and return the question then."""
    told_tls = (question.get("target") or {}).get("tls")
    if not told_tls or "key_source" not in told_tls:
        return question
    given = {name: value for name, value in told_tls.items() if name != "key_source"}
    if told_tls["key_source"]:
        file = given["key_file"] = _key_file(place)
        place.run(f"umask 077; : > {shlex.quote(file)}")
        place.put(file, tls.key(told_tls["key_source"]))
        # Some ways of copying set the mode anew.
        place.run(f"chmod 0600 {shlex.quote(file)}")
    return {**question, "target": {**question["target"], "tls": given}}


def _start(place: Place, what: str, spec: Mapping[str, Any], out: str) -> None:
    file = f"{place.folder}/spec.json"
    place.put(file, json.dumps(spec))
    quoted = shlex.quote(out)
    words = (what, out) if what == "calibrate" else (what, file, out)
    inner = f"{place.command(*words)}; echo $? > {quoted}/exit.new; mv {quoted}/exit.new {quoted}/exit"
    command = (
        f"rm -rf {quoted} && mkdir -m 0700 {quoted} && touch {quoted}/alive && "
        f"(setsid sh -c {shlex.quote(inner)} > {quoted}/log 2>&1 < /dev/null & echo $! > {quoted}/pid)"
    )
    answer = place.run(command)
    if answer.status != 0:
        raise _refusal(place, answer.err or answer.out)


def _look(place: Place, out: str) -> tuple[str, dict[str, Any]]:
    quoted = shlex.quote(out)
    answer = place.run(
        f"touch {quoted}/alive; cat {quoted}/exit 2>/dev/null || echo {RUNNING}; "
        f"head -c {MOST_STATUS_BYTES} {quoted}/status.json 2>/dev/null; true"
    )
    first, _, rest = answer.out.partition("\n")
    if answer.status != 0 or not first.strip():
        raise _refusal(place, answer.err or "its folder is gone")
    try:
        progress = json.loads(rest) if rest.strip() else {}
    except ValueError:
        progress = {}
    return first.strip(), progress if isinstance(progress, dict) else {}


def _result(place: Place, what: str, out: str, status: str) -> dict[str, Any]:
    quoted = shlex.quote(out)
    name = "calibration" if what == "calibrate" else "result"
    if status in ("0", "3"):
        answer = place.run(f"head -c {MOST_RESULT_BYTES + 1} {quoted}/{name}.json")
        if answer.status == 0 and len(answer.out) <= MOST_RESULT_BYTES:
            return _parsed(place, answer.out)
    log = place.run(f"tail -c 4000 {quoted}/log")
    raise _refusal(place, log.out)


def _stop(place: Place, out: str) -> None:
    quoted = shlex.quote(out)
    place.run(f"rm -f {quoted}/alive; pid=$(cat {quoted}/pid 2>/dev/null) && kill -TERM -$pid 2>/dev/null; true")


def _parsed(place: Place, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _refusal(place, "its answer is no JSON object")
    return found


def _refusal(place: Place, said: str) -> WishError:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    why = told(lines[-1], 500) if lines else "no reason was given"
    return WishError("", f"load host {place.name}: {why}", "")
