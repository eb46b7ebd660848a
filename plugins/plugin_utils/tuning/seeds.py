# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starting points of a search, from physics: what to measure before anything is searched for."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from . import physics, queueing
from .physics import Site
from .service_time import per_second, shown
from .space import Setting

# A server that is to keep its objective runs at 70 % of its capacity.
UTILISATION = 0.7
# Without a wished load: the smallest batch with this much of the throughput of the largest that fits.
ENOUGH = 0.9
# The shares of the objective that a batch may wait to fill; a tenth is the planner's limit.
TIMEOUT_SHARES = (0.0, 0.05, 0.1)
# A longer wait or a larger batch must be predicted to be better by this much.
BETTER = 1.02


@dataclass(frozen=True)
class Seed:
    """A setting to begin with, its reason, and the knee that the physics predicts, in requests a second."""

    setting: Setting
    origin: str
    """default (no batching), plan or physics."""
    why: str
    predicted: float


@dataclass(frozen=True)
class Seeds:
    """The starting points in the order to measure them, and the sentences of those that the planner refuses."""

    found: tuple[Seed, ...]
    refused: tuple[tuple[Setting, str], ...]


def seeds(site: Site, load: float | None = None) -> Seeds:
    """Return the starting points: no batching, the plan, then up to three others of physics.

    :param load: the items a second that callers will send, where that is known.
    """
    wanted = [
        (site.single, "default", "request by request: every other setting must beat it"),
        (site.planned, "plan", "the plan as it is"),
        *((setting, "physics", why) for setting, why in _physics(site, load)),
    ]
    found: dict[Setting, Seed] = {}
    refused: list[tuple[Setting, str]] = []
    for setting, origin, why in wanted:
        legal = site.legal(setting)
        if isinstance(legal, WishError):
            refused.append((setting, str(legal)))
        elif legal not in found:
            found[legal] = Seed(legal, origin, why, site.predicted(legal))
    return Seeds(tuple(found.values()), tuple(refused))


def by_physics(site: Site) -> list[Setting]:
    """Return the settings that physics begins with on a site."""
    return [setting for setting, _why in _physics(site, None)]


def _physics(site: Site, load: float | None) -> list[tuple[Setting, str]]:
    fitting = physics.sizes(site)
    # With these S(b) batches cannot win. One trial of a batch stands against an error of the curve.
    if not fitting or not site.curve.pays(fitting[-1]):
        return [_adaptive(site, fitting[-1])] if fitting else []
    return [_smallest(site, fitting, load), _adaptive(site, fitting[-1]), _best_predicted(site)]


def _most_threads(site: Site) -> int:
    return site.machine.servers(physics.shaped(site, 2, 0, site.machine.cpus), site.load.busy_cpus)


def _smallest(site: Site, fitting: list[int], load: float | None) -> tuple[Setting, str]:
    threads, curve = _most_threads(site), site.curve
    if load is None:
        rate = ENOUGH * fitting[-1] / curve.us(fitting[-1])
        aim = f"{ENOUGH:.0%} of the throughput of the largest that fits"
    else:
        rate = load / UTILISATION / threads / 1e6
        aim = f"{load:.4g} items a second at {UTILISATION:.0%} use"
    size = next((size for size in fitting if size / curve.us(size) >= rate), fitting[-1])
    why = (
        f"{size} is the smallest batch for {aim}; two of its runs ({shown(2 * curve.us(size))}) fit in"
        f" {shown(site.load.slo_us)}"
    )
    return physics.shaped(site, size, 0, threads), why


def _adaptive(site: Site, size: int) -> tuple[Setting, str]:
    threads = max(1, _most_threads(site) // 2)
    why = (
        f"timeout 0 and {counted(threads, 'batch thread')}: batches grow by themselves with the load, up to {size},"
        " and a lone request never waits"
    )
    return physics.shaped(site, size, 0, threads), why


def _best_predicted(site: Site) -> tuple[Setting, str]:
    """Return the setting with the highest predicted knee; of equals the one with the smallest batch and timeout."""
    most = _most_threads(site)
    choices = [
        physics.shaped(site, size, timeout, threads)
        for share in TIMEOUT_SHARES
        for timeout in [int(site.load.slo_us * share)]
        for threads in sorted({max(1, most // 2), most})
        for size in physics.sizes(site, timeout, runs=1)
    ]
    best = choices[0]
    for each in choices[1:]:
        if queueing.carries(each, site.machine, site.curve, site.load, site.predicted(best) * BETTER):
            best = each
    return best, f"the queueing model expects the most of it: {per_second(site.predicted(best))}"
