# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits of time that no machine reaches, however long it stands still.

The code under test waits five seconds for a server that answers in one millisecond, and a CPU that runs virtual
machines beside the tests may be away for twenty. So a limit of a second or more, on a socket or a process of this
process, counts as ten minutes. Limits below that are those of tests which want to see them run out.
"""

from __future__ import annotations

import socket
import subprocess
from functools import wraps

LONG_S = 600.0


def stretched(seconds):
    """Return the limit that counts."""
    return max(seconds, LONG_S) if seconds is not None and seconds >= 1 else seconds


def stretch():
    """Stretch the limits of this process from now on."""
    from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi
    from ansible_collections.tfserving.fleet.plugins.module_utils.serving import bounded_http

    for owner, name, place, parameter in (
        (socket.socket, "settimeout", 1, "value"),
        (subprocess.Popen, "wait", 1, "timeout"),
        (subprocess.Popen, "communicate", 2, "timeout"),
        (bounded_http._Wire, "__init__", 2, "seconds"),
        (smi, "run", 1, "timeout"),
    ):
        setattr(owner, name, _patient(getattr(owner, name), place, parameter))


def _patient(function, place, parameter):
    """Return a function whose limit, by its place or by its name, is stretched."""

    @wraps(function)
    def patient(*arguments, **options):
        given = [stretched(value) if number == place else value for number, value in enumerate(arguments)]
        named = {name: stretched(value) if name == parameter else value for name, value in options.items()}
        return function(*given, **named)

    return patient
