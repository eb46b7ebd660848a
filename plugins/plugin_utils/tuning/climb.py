# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The standard search: what physics makes of the knees so far, and the neighbours of the best setting."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from . import neighbours, seeds
from .physics import Site
from .space import Setting

# A neighbour that the model puts so far behind is not worth a trial, if the curve can be trusted.
HOPELESS = 0.9
# Another queue alone changes nothing before it is full: only where the model says that it matters.
QUEUE_MATTERS = 1.01


def propose(
    site: Site, measured: Sequence[tuple[Setting, float]], tried: Collection[Setting], _seed: int
) -> Setting | None:
    """Return the next setting by its predicted knee, or None when all that promise something are tried.

    :param site: as the measured knees have shown it, so that physics may propose other batches than it did at first.
    :param measured: the settings and their knees, the best first.
    """
    if not measured:
        return None
    best = measured[0][0]
    found: dict[Setting, float] = {}
    for each in (*seeds.by_physics(site), *neighbours.around(site, best)):
        legal = site.legal(each)
        if not isinstance(legal, WishError) and legal not in tried:
            found.setdefault(legal, site.predicted(legal))
    expected = site.predicted(best) if site.curve.is_sure else 0.0
    hopeful = [each for each, knee in found.items() if knee >= expected * _least(best, each)]
    return max(hopeful, key=lambda setting: found[setting], default=None)


def _least(best: Setting, other: Setting) -> float:
    """Return the share of the best's predicted knee that makes another setting worth a trial."""
    if best.batches and other.batches:
        queue = best.batches.max_enqueued_batches
        if other.with_batches(max_enqueued_batches=queue) == best:
            return QUEUE_MATTERS
    return HOPELESS
