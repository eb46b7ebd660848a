# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings one step away from another: what a search without a library tries next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from . import physics
from .physics import Site
from .space import Setting

# Steps of the timeout as shares of the objective; a tenth is the planner's limit.
TIMEOUTS = (0.0, 0.02, 0.05, 0.1)


def around(site: Site, setting: Setting) -> list[Setting]:
    """Return the settings one step away, each once, whether legal or not."""
    found = [each for each in (*_batches(site, setting), *_pools(site, setting)) if each != setting]
    return list(dict.fromkeys(found))


def _batches(site: Site, setting: Setting) -> Iterator[Setting]:
    """Yield other batches, with queue and request threads to match; from no batches, the largest that fit."""
    batches = setting.batches
    if batches is None:
        for size in physics.sizes(site)[-1:]:
            yield _with_pools(setting, physics.shaped(site, size, 0, site.machine.cpus))
        return
    size, timeout, threads = batches.max_batch_size, batches.batch_timeout_micros, batches.num_batch_threads
    for other in (size * 2, size // 2):
        if other >= max(2, site.load.items) and physics.fits(site, other, timeout):
            yield _with_pools(setting, physics.shaped(site, other, timeout, threads))
    for count in (threads * 2, (threads + 1) // 2, threads - 1):
        if 1 <= count <= site.machine.cpus:
            yield _with_pools(setting, physics.shaped(site, size, timeout, count))
    for other in _other_timeouts(site, timeout):
        yield setting.with_batches(batch_timeout_micros=other)
    for queue in (batches.max_enqueued_batches * 2, batches.max_enqueued_batches // 2):
        if 1 <= queue <= physics.LONGEST_QUEUE:
            yield setting.with_batches(max_enqueued_batches=queue)


def _other_timeouts(site: Site, timeout: int) -> list[int]:
    """Return the steps next to a timeout."""
    steps = [int(share * site.load.slo_us) for share in TIMEOUTS]
    nearest = min(range(len(steps)), key=lambda step: abs(steps[step] - timeout))
    return [steps[step] for step in (nearest - 1, nearest + 1) if 0 <= step < len(steps)]


def _with_pools(setting: Setting, shaped: Setting) -> Setting:
    """Return shaped batches with the computing pools of a setting, and no fewer request threads than it has."""
    return dataclasses.replace(
        shaped,
        intra_op=setting.intra_op,
        inter_op=setting.inter_op,
        grpc=max(setting.grpc, shaped.grpc),
        rest=max(setting.rest, shaped.rest),
    )


def _pools(site: Site, setting: Setting) -> Iterator[Setting]:
    """Yield other splits of the CPUs between the computing pools: by a quarter of them, and to either end."""
    whole = max(2, site.machine.cpus)
    step = max(1, whole // 4)
    for intra in (setting.intra_op + step, setting.intra_op - step, whole - 1, 1):
        if 1 <= intra <= whole - 1:
            yield dataclasses.replace(setting, intra_op=intra, inter_op=whole - intra)
