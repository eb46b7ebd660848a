# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Orders of a watch within bounds: a host that hangs must not keep a worker, least of all the one that conducts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import described
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from . import team
from .team import LONGEST, Call, Post

# Beyond what the conductor waits for (team.py), and short beside what a dead connection takes to be noticed.
MOST_S: Mapping[str, float] = {"read": 12.0, "share": 12.0, "record": 12.0, "golden": 36.0}


class LateError(BaseException):
    """An order takes too long. No Exception, which Ansible's connections take for a reason to try again."""


def carried_out(order: Mapping[str, Any], post: Post, call: Call, most_s: float | None = None) -> dict[str, Any]:
    """Return the answer to an order, also where the host cannot be reached or does not answer in time."""
    seconds = MOST_S[order["do"]] if most_s is None else most_s
    try:
        with _within(seconds):
            return team.carried_out(order, post, call)
    except LateError:
        return {"failed": f"no answer within {seconds:.0f} s"}
    except Exception as error:  # whatever a connection raises: it is about this host alone
        return {"failed": told(str(error) or described(error), LONGEST)}


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: Any) -> None:
        raise LateError

    usual: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
