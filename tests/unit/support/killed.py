# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs a function in a process that is killed at a given point."""

from __future__ import annotations

import os

DISK_CALLS = ("open", "mkdir", "rename", "fsync", "fchmod", "unlink", "rmdir", "replace")


def run_until_killed(work, at: int, more=()) -> bool:
    """Run ``work`` in a child that dies without a word before its ``at``-th call to the disk; tell if it did.

    ``more`` are further calls that count, each as its owner and its name there.
    """
    child = os.fork()
    if child == 0:
        calls = 0

        def counted(real):
            def call(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls == at:
                    os._exit(9)
                return real(*arguments, **options)

            return call

        for owner, name in [*((os, name) for name in DISK_CALLS), *more]:
            setattr(owner, name, counted(getattr(owner, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
