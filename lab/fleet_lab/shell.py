# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Running other programs, quietly with a log or on the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet_lab.errors import Stop

TAIL_LINES = 15  # of a failed command's log: enough for an apt or pip error with its cause

# What Ansible, Molecule, pytest and make say of a failure, without colours and the frame that Molecule draws.
COMPLAINT = re.compile(
    r"^(fatal: |failed: |\[ERROR\]|E  |FAILED (?!- RETRYING)|ERROR +|CRITICAL |Idempotence test failed)|^ +msg: "
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FRAME = re.compile(r"^ *│ ?")
COMPLAINT_WIDTH = 300


def quietly(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command with its output in a log; raise Stop with the log's last lines if it fails."""
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(words)}\n".encode())
        output.flush()
        code = _call(words, env, cwd, stdout=output, stderr=subprocess.STDOUT)
    if code:
        raise Stop(f"{Path(words[0]).name} failed with exit code {code}; its whole output is in {log}", tail(log))


def openly(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None, label: str = ""
) -> None:
    """Run a command on the terminal; raise Stop if it fails.

    If others run at the same time, a label precedes each of its lines. Then, and without a terminal, its complaints are
    repeated at the end: CI keeps or shows only the last lines.
    """
    words = [str(word) for word in command]
    if sys.stdout.isatty() and not label:
        code, details = _call(words, env, cwd), ""
    else:
        code, details = _call_listening(words, env, cwd, f"{label} │ " if label else "")
    if code:
        raise Stop(f"{Path(words[0]).name} failed with exit code {code}; its messages stand above", details)


def answer(command: Sequence[str | Path], timeout: float = 60) -> str | None:
    """Return a command's standard output, stripped, or None if it fails, hangs or does not exist."""
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def complaints(lines: Iterable[str]) -> str:
    """Return the last lines that report a failure or, if there are none, the last lines of all."""
    complaining: deque[str] = deque(maxlen=TAIL_LINES)
    last: deque[str] = deque(maxlen=TAIL_LINES)
    for line in lines:
        plain = FRAME.sub("", COLOUR.sub("", line)).rstrip()[:COMPLAINT_WIDTH]
        last.append(plain)
        if COMPLAINT.search(plain):
            complaining.append(plain)
    return "\n".join(complaining or last)


def _call_listening(words: list[str], env: Mapping[str, str] | None, cwd: Path | None, prefix: str) -> tuple[int, str]:
    """Run a command, passing on its output line by line; return its exit code and complaints."""

    def pass_on(output: Iterable[str]) -> Iterator[str]:
        for line in output:
            sys.stdout.write(prefix + line)
            sys.stdout.flush()
            yield line

    with _started(words, env, cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        details = complaints(pass_on(process.stdout or ()))
    return process.returncode, details


def _call(words: list[str], env: Mapping[str, str] | None, cwd: Path | None, **streams: Any) -> int:
    with _started(words, env, cwd, **streams) as process:
        process.wait()
    return process.returncode


def _started(
    words: list[str], env: Mapping[str, str] | None, cwd: Path | None, **streams: Any
) -> subprocess.Popen[str]:
    try:
        process: subprocess.Popen[str] = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            text=True,
            errors="replace",
            **streams,
        )
    except FileNotFoundError:
        raise Stop(f"the command {words[0]} is not there; install it, or look for it in PATH") from None
    return process
