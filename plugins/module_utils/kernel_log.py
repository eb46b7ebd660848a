# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the kernel's log of this boot, or one that was saved."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.process_facts import Run


def read(run: Run, saved: str | None = None) -> list[str] | None:
    """Return the log's lines, of the file ``saved`` where one is named; None where it could not be read."""
    return _file(saved) if saved else _live(run)


def _live(run: Run) -> list[str] | None:
    for command in (["journalctl", "--dmesg", "--boot", "--no-pager", "--output=cat"], ["dmesg"]):
        status, out, _err = run(command)
        if status == 0:
            return out.splitlines()
    return None


def _file(path: str) -> list[str] | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return None
