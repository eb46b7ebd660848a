# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Short ways to say what a fault found."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from .finding import Judged, Proof


def proof(source: str, value: str, expected: str, window_s: float | None = None) -> Proof:
    """Return a piece of evidence."""
    return Proof(source, value, expected, window_s)


def unknown(why: str, instance: str | None = None, model: str | None = None) -> Judged:
    """Say that what would decide could not be read."""
    return Judged("unknown", 0.0, (), why, instance, model)


def cleared(test: str, *proofs: Proof, instance: str | None = None, model: str | None = None) -> Judged:
    """Say that a test has ruled a fault out."""
    return Judged("cleared", 1.0, proofs, test, instance, model)


def percent(part: float | None) -> str:
    """Return a part of a whole for people."""
    return "unknown" if part is None else f"{part * 100:.3g} %"


def ms(value: float | None) -> str:
    """Return milliseconds for people."""
    return "unknown" if value is None else f"{value:.3g} ms"


def first_line(lines: list[str]) -> str:
    """Return the last of some lines of a log, which is the newest, short enough for a report."""
    return told(lines[-1], 160) if lines else "no such line"
