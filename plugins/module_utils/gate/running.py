# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The ports of an instance's running server: those that it was started with, which the plan may have changed since."""

from __future__ import annotations

import os
import re

from ..disk import plain_files
from ..host.run import Run
from .config import Instance

PROC = "/proc"

_PORT = re.compile(rb"--(rest_api_)?port=([0-9]{1,5})")
# The kernel's own limit for one argument.
_MOST_BYTES = 128 * 1024


def instance(run: Run, name: str, planned: Instance | None, proc: str = PROC) -> Instance | None:
    """Return an instance with the ports of its process, or as planned if there is none; None for a strange name."""
    found = _ports(_pid(run, name), proc)
    if "rest" in found and "grpc" in found:
        return Instance(name, found["rest"], found["grpc"], planned.models if planned else {})
    return planned


def _pid(run: Run, name: str) -> int:
    code, out, _error = run(["systemctl", "show", f"tfserving@{name}.service", "--property=MainPID", "--value"])
    text = out.strip()
    return int(text) if not code and text.isdecimal() else 0


def _ports(pid: int, proc: str) -> dict[str, int]:
    if not pid:
        return {}
    try:
        arguments = plain_files.beginning(os.path.join(proc, str(pid), "cmdline"), _MOST_BYTES).split(b"\0")
    except OSError:
        return {}
    found = (_PORT.fullmatch(argument) for argument in arguments)
    ports = (("rest" if match.group(1) else "grpc", int(match.group(2))) for match in found if match)
    return {kind: port for kind, port in ports if 0 < port < 65536}
