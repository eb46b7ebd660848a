# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Mutual exclusion of the workers of a run, so that one of them does the work and the others use the result."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def turn(lock: str) -> Iterator[None]:
    """Wait until no other worker of this run holds the lock file."""
    with open(lock, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
