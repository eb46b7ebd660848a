# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""tfserving-gate: the gates of a host's servers.

serve         answer everybody who asks for the gates (tfserving-gate.service)
leave NAME    let an instance leave the traffic before its server stops; always ends with status 0, so that it may stop
admit NAME    let the process of an instance that has just come to serve into the traffic
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from ..visible_text import visible
from . import companion, marks, notify
from . import config as configs
from . import record as records
from .door import Door
from .gates import Gates

# A new companion has looked at each server before it answers, unless one of them takes longer.
_FIRST_LOOKS_S = 1.0
_PROGRAM_S = 10.0


def main(given: list[str]) -> int:
    """Carry out one command."""
    command = given[0] if given else ""
    if command == "serve" and len(given) == 1:
        return serve()
    if command in _OF_ONE and len(given) == 2:
        return _OF_ONE[command](given[1])
    print((__doc__ or "").strip(), file=sys.stderr)
    return 2


def serve() -> int:
    """Answer until this process is ended, or the plan has another port for its successor."""
    try:
        watched = configs.Watched(configs.PATH)
        known = marks.Marks(marks.FOLDER, marks.UNITS)
        gates = Gates(watched, known, records.FOLDER, os.environ.get("RUNTIME_DIRECTORY", ""))
        port = watched.now().port
        wire = companion.listener(port)
    except configs.ConfigError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"port {port} cannot be listened on ({os.strerror(error.errno or 0)}); set tfserving_gate_port")
    gates.watch()
    end = time.monotonic() + _FIRST_LOOKS_S
    while not gates.looked and time.monotonic() < end:
        time.sleep(0.01)
    notify.tell("READY=1")
    companion.Companion(gates, wire, lambda: notify.tell("WATCHDOG=1")).serve(port)
    return 0


def leave(name: str) -> int:
    """Let an instance leave, and say what was proven and what was not."""
    try:
        for one in _door().leave([name], None):
            proven = "; ".join(one.proven) or "nothing was proven"
            _say(f"{one.name} left the traffic after {one.waited_s:.1f} s: {proven}")
            for words in one.unproven:
                _say(f"{one.name}: not proven: {words}")
            if one.direct_callers:
                _say(f"{one.name}: callers that use no gateway: {', '.join(one.direct_callers[:20])}")
    except (RuntimeError, OSError) as error:
        _say(f"{name} stops without leaving the traffic: {error}")
    return 0


def admit(name: str) -> int:
    """Admit the present process of an instance."""
    try:
        if _door().admit(name):
            _say(f"{name} is admitted to the traffic")
    except (RuntimeError, OSError) as error:
        _say(f"{name} cannot be admitted to the traffic: {error}")
        return 1
    return 0


def _door() -> Door:
    return Door(_run, configs.PATH, records.FOLDER, marks.Marks(marks.FOLDER, marks.UNITS))


def _run(arguments: list[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def _fail(text: str) -> int:
    print(f"tfserving-gate: {visible(text)}", file=sys.stderr)
    return 1


def _say(text: str) -> None:
    print(f"tfserving-gate: {visible(text)}", flush=True)


_OF_ONE = {"leave": leave, "admit": admit}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
