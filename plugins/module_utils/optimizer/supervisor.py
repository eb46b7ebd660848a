# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts the confined process, watches its time and memory, and puts its result together. Runs without TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from . import confinement, recipes
from .request import SCHEMA, Request
from .runtime import printable

INSIDE = "--inside"
# The verdict of each task where nothing came of it.
VERDICTS = {"survey": "surveyed", "build": "built", "answer": "answered"}
LARGEST_RESULT = 64 * 1024 * 1024
LARGEST_NOTE = 64 * 1024
LOOK_S = 0.1
# What TensorFlow and the C library say before they give up for want of memory.
OF_MEMORY = (
    "result: oom-kill",
    "bad_alloc",
    "Cannot allocate memory",
    "MemoryError",
    "OOM when allocating",
    "ResourceExhausted",
)
# Names that a confined process may know of its surroundings.
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


# TensorFlow's own log, and what systemd-run says of the service.
OF_LOG = re.compile(
    r"[IW]\d{4} |.{0,40}: [IW] |WARNING: All log|Running as unit|Finished with|Main processes|Service runtime|CPU time"
)


class _EndedError(Exception):
    """We were told to end."""


def carry_out(request: Request, file: Path) -> dict[str, Any]:
    """Carry a request out in a confined process and return its result."""
    began = time.monotonic()
    place = partial(request)
    result = _refused_place(request) or {}
    if not result:
        with _ended(), _scratch(place):
            result = _run(request, file, place)
            _publish(request, result)
    verdict = VERDICTS[request.task]
    blank = {"schema": SCHEMA, "task": request.task, verdict: False, "why": "", "tensorflow": None}
    seconds = round(time.monotonic() - began, 3)
    return {**blank, "peak_memory_mb": 0, "confinement": None, **result, "seconds": seconds}


def partial(request: Request) -> Path | None:
    """Return the folder that the confined process may write to: beside what is made, which appears whole or not."""
    return request.out.with_name(f".{request.out.name}.partial") if request.out else None


def made(place: Path) -> Path:
    """Return where in it the confined process puts what it makes; the rest is its home."""
    return place / "made"


def _refused_place(request: Request) -> dict[str, Any] | None:
    if request.out is None:
        return None
    if not request.out.parent.is_dir():
        return {"why": f"{request.out.parent} is no directory"}
    if os.path.lexists(request.out):
        return {"why": f"{request.out} exists already, and nothing is ever made in its place: name another one"}
    return None


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """Turn a request to end into an exception, so that what was begun is cleaned up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _EndedError

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    except _EndedError:
        sys.exit(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _scratch(place: Path | None) -> Iterator[None]:
    """Make the folder of the confined process, without what a killed run left there, and remove what is left of it."""
    if place is None:
        yield
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    made(place).mkdir()
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _publish(request: Request, result: dict[str, Any]) -> None:
    place = partial(request)
    if place and request.out and result.get(VERDICTS[request.task]) is True:
        made(place).rename(request.out)


def _run(request: Request, file: Path, place: Path | None) -> dict[str, Any]:
    environment = _environment(request, place)
    means = confinement.means(request.limits, place, environment)
    if means is None:
        return {"why": confinement.NO_MEANS}
    command = [*means.prefix, sys.executable, "-B", "-m", __package__, INSIDE, str(file)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as notes:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=notes,
            env=environment,
            cwd="/",
            preexec_fn=confinement.limiter(request.limits, means.by),
        )
        try:
            ended, peak = _watched(process, means.unit, request)
        finally:
            if process.poll() is None:
                confinement.stop(process, means.unit)
        result: dict[str, Any] = {"why": ended} if ended else _result(out, notes, process.returncode, request)
    result["peak_memory_mb"] = max(peak, result.get("peak_memory_mb") or 0)
    limits = {"seconds": request.limits.seconds, "cpus": request.limits.cpus}
    # A process that was ended has not said what it found.
    unknown = {"network": None, "memory": None, "memory_mb": request.limits.memory_mb}
    result["confinement"] = {"by": means.by, **unknown, **(result.get("confinement") or {}), **limits}
    return result


def _environment(request: Request, place: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # The program's own place, which the confined process has to find again.
    kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    kept.update(TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS=os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"))
    kept["TMPDIR"] = str(place or "/tmp")
    kept["HOME"] = kept["TMPDIR"]
    if request.recipe is None or request.recipe["kind"] != "tf_trt":
        kept["CUDA_VISIBLE_DEVICES"] = "-1"
    if request.task == "answer" and request.recipe:
        kept.update(recipes.needs(request.recipe).environment)
    return kept


def _watched(process: subprocess.Popen[bytes], unit: str, request: Request) -> tuple[str, int]:
    """Wait for the end; return in words why it was brought about, and the most memory seen."""
    deadline = time.monotonic() + request.limits.seconds
    peak = 0
    while True:
        peak = max(peak, confinement.used_mb(process.pid, unit))
        if peak > request.limits.memory_mb:
            return _too_much(request), peak
        if time.monotonic() > deadline:
            return f"it took longer than the {request.limits.seconds} s that it was given: allow it more", peak
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
            return "", peak


def _too_much(request: Request) -> str:
    return f"it needed more than the {request.limits.memory_mb} MB of memory that it was given: allow it more"


def _result(out: IO[bytes], notes: IO[bytes], code: int, request: Request) -> dict[str, Any]:
    out.seek(0)
    text = out.read(LARGEST_RESULT + 1)
    if code == 0 and len(text) <= LARGEST_RESULT:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(text)
            return found if isinstance(found, dict) else {}
    notes.seek(max(0, notes.seek(0, os.SEEK_END) - LARGEST_NOTE))
    words = notes.read().decode("utf-8", "replace")
    if any(sign in words for sign in OF_MEMORY) or code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return {"why": _too_much(request)}
    last = next((line for line in reversed(words.splitlines()) if line.strip() and not OF_LOG.match(line)), "no word")
    return {"why": f"the confined process ended with code {code}: {printable(last)}"}
