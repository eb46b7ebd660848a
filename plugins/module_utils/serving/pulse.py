# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which processes serve on a host, as cheap as it can be had, and golden requests to them in small portions."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from . import golden
from .client import Client, ServerError, UnreachableError

LINKS = "/run/systemd/units"
# What stands for the process where there is none: it is another one than before, and so is the next.
GONE = "gone"
MOST_S = 30.0
_INVOCATION = re.compile(r"[0-9a-f]{32}")


def processes(instances: Sequence[str], links: str = LINKS) -> dict[str, dict[str, Any]]:
    """Return the process of each instance by systemd's id of its start, which no second start has.

    ``calls`` is 0: the id tells a restart, and nothing is asked of the server.
    """
    return {name: {"process": _invocation(name, links), "calls": 0} for name in instances}


def _invocation(name: str, links: str) -> str:
    try:
        found = os.readlink(os.path.join(links, f"invocation:tfserving@{name}.service"))
    except OSError:
        return GONE
    return found if _INVOCATION.fullmatch(found) else GONE


def ask(
    ports: Mapping[str, int],
    model: str,
    requests: Sequence[Mapping[str, Any]],
    client: Callable[[int], Any] = Client,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, list[int]]:
    """Return by instance how many of the golden requests were answered, and how many of them wrongly.

    A full queue is no answer. How long an answer takes is not judged, since callers may keep the server busy.
    """
    wanted: list[Any] = [{**each, "max_latency_ms": None} for each in requests]
    until, found = now() + MOST_S, {name: [0, 0] for name in ports}
    for name, port in ports.items() if wanted else ():
        try:
            for answered in golden.each(client(port), model, wanted):
                if answered.status not in golden.PASSING:
                    found[name][0] += 1
                    found[name][1] += bool(answered.faults)
                if now() > until:
                    break
        except (UnreachableError, ServerError):
            # Whether its process is gone is seen anyway, and counts for more than an answer that did not come.
            continue
    return found
