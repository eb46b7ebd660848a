# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis says, and what a fault of the catalogue is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Of the host's machine and system; of the model and how it is called; of settings. Causes are looked for in this order.
Layer = Literal["resources", "model", "configuration"]
# cause: explains what is wrong. contributor: makes it worse. suspect: fits, but nothing has told it from others.
# cleared: a test has ruled it out. unknown: what would decide could not be read; never a pass.
Verdict = Literal["cause", "contributor", "suspect", "cleared", "unknown"]
Risk = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True)
class Proof:
    """A piece of evidence: where it is from (a file, a command), its value, what was expected, and over what time."""

    source: str
    value: str
    expected: str
    window_s: float | None = None


@dataclass(frozen=True)
class Remedy:
    """What to do: a sentence, the command or the variable that does it, what it risks, and whether servers restart."""

    text: str
    command: str
    risk: Risk
    restart: bool


@dataclass(frozen=True)
class Judged:
    """What a fault's function found on one subject: an instance, or the host where ``instance`` is None.

    ``share`` is the part of the latency that the fault explains (0 to 1), None where it explains no latency but an
    outage, an error or a risk. ``impact`` ranks those: 1 for no service at all, 0 for none. ``test`` says what was
    told apart, and how.
    """

    verdict: Verdict
    confidence: float
    proofs: tuple[Proof, ...]
    test: str
    instance: str | None = None
    model: str | None = None
    share: float | None = None
    impact: float = 0.0
    words: str = ""


@dataclass(frozen=True)
class Fault:
    """A row of the catalogue, one file each: ``FAULT`` in ``catalogue/LAYER/NAME.py``.

    ``judge`` is a pure function of a case (``case.Case``: the evidence of one host with what was derived from it, the
    budgets of its instances and the evidence of its peers). It returns what it found on each subject that it concerns,
    cleared ones included, and unknown where the evidence is missing. Where nothing of the kind exists on the host (no
    GPU, no batching, no gateway) it returns nothing.
    """

    id: str
    title: str
    layer: Layer
    observable: str
    remedy: Remedy
    refs: tuple[str, ...]
    judge: Callable[[Any], Sequence[Judged]]
