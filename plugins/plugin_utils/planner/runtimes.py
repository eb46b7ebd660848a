# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compatibility of a host's GPUs, driver and C library with a release of the server, and what to use instead.

tables/server_runtimes.yml holds the needs of each release. The planner calls `check` for every host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Gpu, Topology

from ..tables import surveyed
from ..tables.read import table

TABLE = "server_runtimes"
VERSION = "tfserving_version"

# An image brings its own C library; apt packages and archives use the host's.
OWN_LIBC = ("image",)


@dataclass(frozen=True)
class Runtime:
    """The needs of one release. ``glibc`` and ``cuda`` are versions, ``targets`` the kinds of GPU code in it."""

    version: str
    cuda: str
    cudnn: str
    glibc: str
    tensorrt: bool
    targets: tuple[str, ...]

    @property
    def least_driver(self) -> str:
        """The oldest driver for a GPU with native code."""
        return str(table(TABLE)["least_driver_by_major"][self.cuda.split(".")[0]])

    @property
    def own_driver(self) -> str:
        """The oldest driver for a GPU that runs from PTX."""
        return str(table(TABLE)["driver_of_toolkit"][self.cuda])

    def code_for(self, capability: str) -> str:
        """Return how a GPU of a compute capability (``8.6``) runs the release: ``native``, ``ptx`` or ``""`` (not)."""
        wanted = _numbers(capability)
        for target in self.targets:
            kind, _underscore, digits = target.partition("_")
            have = (int(digits[:-1]), int(digits[-1]))
            # Native code runs on later minor versions of the same major version, PTX on everything later.
            if kind == "sm" and have[0] == wanted[0] and have[1] <= wanted[1]:
                return "native"
            if kind == "compute" and have <= wanted:
                return "ptx"
        return ""

    def proven_on(self, capability: str) -> bool:
        """Return whether no failure is known on GPUs of this compute capability."""
        limits = table(TABLE)
        late = _numbers(capability) >= _numbers(limits["unproven_from_capability"])
        return not (late and _numbers(self.cuda) < _numbers(limits["unproven_before_cuda"]))


@cache
def runtimes() -> tuple[Runtime, ...]:
    """Return all releases, the oldest first."""
    rows = table(TABLE)["releases"].items()
    return tuple(Runtime(version, **{**row, "targets": tuple(row["targets"])}) for version, row in rows)


@lru_cache(maxsize=64)
def runtime(version: str) -> Runtime:
    """Return what ``version`` needs; one that is not in the table counts as the release before it."""
    wanted = _numbers(version)
    known = runtimes()
    older = [each for each in known if _numbers(each.version) <= wanted]
    return (older or known[:1])[-1]


def check(
    topology: Topology,
    version: str,
    method: str,
    gpus: Iterable[Gpu] = (),
    *,
    allow_unproven: bool = False,
    allow_unsurveyed: bool = False,
) -> WishError | None:
    """Return why a host cannot run a release, or None if no reason is known.

    :param topology: from ``host_topology``; ``libc`` (``glibc 2.36``) and ``driver_version`` are read.
    :param method: ``apt``, ``image`` or ``archive``: an image brings its own C library.
    :param gpus: the topology's GPUs for the server to use. Unknown properties of a GPU are not held against it.
    :param allow_unproven: allow what should work but was reported not to.
    :param allow_unsurveyed: do not check a release newer than any surveyed against the needs of the newest surveyed.
    """
    if surveyed.is_newer(version):
        if allow_unsurveyed:
            return None
        refusal = check(topology, surveyed.newest(), method, gpus, allow_unproven=allow_unproven)
        return refusal and _unsure(refusal, version)
    needs = runtime(version)
    libc = None if method in OWN_LIBC else _libc_refusal(needs, version, topology.get("libc"))
    refusals = (_gpu_refusal(needs, version, gpu, topology, allow_unproven) for gpu in gpus)
    return libc or next((refusal for refusal in refusals if refusal), None)


def _unsure(refusal: WishError, version: str) -> WishError:
    """Return the refusal of the newest surveyed release as one of a newer release, whose needs are unknown."""
    newest = surveyed.newest()
    needs = refusal.problem.removeprefix(newest)
    problem = f"{version} was not surveyed, and {newest}, the newest release that was,{needs}"
    permit = f"set {surveyed.PERMISSION} to true if {version} runs here"
    return WishError(refusal.path, problem, f"{refusal.remedy}, or {permit}")


def _libc_refusal(needs: Runtime, version: str, libc: str | None) -> WishError | None:
    match = re.fullmatch(r"glibc (\d+\.\d+)", libc or "")
    if match is None or _numbers(match[1]) >= _numbers(needs.glibc):
        return None
    newest = _newest(lambda each: _numbers(each.glibc) <= _numbers(match[1]))
    instead = f"set it to {newest}, or tfserving_install_method to image" if newest else "use a newer system"
    return WishError(VERSION, f"{version} is built for glibc {needs.glibc}, and this host has {match[1]}", instead)


def _gpu_refusal(needs: Runtime, version: str, gpu: Gpu, topology: Topology, allow_unproven: bool) -> WishError | None:
    capability = gpu.get("compute_capability")
    if not capability:
        return None
    called = f"{gpu.get('name') or 'GPU ' + str(gpu.get('index'))} (compute capability {capability})"
    code = needs.code_for(capability)
    if not code:
        problem = f"{version} holds no code for this host's {called}"
        return WishError(VERSION, problem, _instead(capability))
    if not allow_unproven and not needs.proven_on(capability):
        before = table(TABLE)["unproven_before_cuda"]
        problem = (
            f"{version} is built with CUDA {needs.cuda}, and builds before CUDA {before} are known to fail on {called}"
        )
        return WishError(VERSION, problem, _instead(capability))
    return _driver_refusal(needs, version, code, called, gpu.get("driver_version") or topology.get("driver_version"))


def _driver_refusal(needs: Runtime, version: str, code: str, called: str, driver: str | None) -> WishError | None:
    least = needs.own_driver if code == "ptx" else needs.least_driver
    if driver is None or _numbers(driver) >= _numbers(least):
        return None
    why = f"CUDA {needs.cuda}" if code == "native" else f"the PTX of CUDA {needs.cuda} that {called} runs from"
    problem = f"{version} needs driver {least} or newer for {why}, and this host has {driver}"
    return WishError(VERSION, problem, f"set nvidia_driver_branch to {least.split('.')[0]} or newer")


def _instead(capability: str) -> str:
    newest = _newest(lambda each: bool(each.code_for(capability)) and each.proven_on(capability))
    if newest:
        return f"set it to {newest}, the newest release that runs on it"
    return (
        "no surveyed release runs on it; use other GPUs, or tfserving_install_method: archive with a build of your own"
    )


def _newest(fits: Any) -> str:
    return next((each.version for each in reversed(runtimes()) if fits(each)), "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
