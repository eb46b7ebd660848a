# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Running other programs: quietly into a log, or in the open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_lab.errors import Stop

TAIL_LINES = 15  # of a failed command's log: enough for an apt or pip error with its cause


def quietly(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Runs a command with its output in a log; raises Stop with the log's last lines if it fails."""
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(words)}\n".encode())
        output.flush()
        code = _call(words, env, cwd, stdout=output, stderr=subprocess.STDOUT)
    if code:
        raise Stop(f"{Path(words[0]).name} failed with exit code {code}; its whole output is in {log}", tail(log))


def openly(command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """Runs a command on the terminal; raises Stop if it fails."""
    words = [str(word) for word in command]
    code = _call(words, env, cwd)
    if code:
        raise Stop(f"{Path(words[0]).name} failed with exit code {code}; its messages stand above")


def answer(command: Sequence[str | Path], timeout: float = 60) -> str | None:
    """What a command says on standard output, stripped; None when it fails, hangs or does not exist."""
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


def _call(words: list[str], env: Mapping[str, str] | None, cwd: Path | None, **streams: object) -> int:
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, cwd=cwd, check=False, **streams
        ).returncode
    except FileNotFoundError:
        raise Stop(f"the command {words[0]} is not there; install it, or look for it in PATH") from None
