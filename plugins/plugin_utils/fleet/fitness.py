# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fitness of a host for servers, whatever its hardware, checked before its driver is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import accounts, apt_sources
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

SYSTEMD = "systemd"


def check(host: str, found: Mapping[str, Any], servers: Mapping[str, Any]) -> None:
    """Raise WishErrors with all reasons against servers on a host.

    :param found: from the module host_topology: ``service_manager``, ``apt_sources`` and ``accounts``.
    :param servers: ``group`` and ``instances``, the names to be created; ``repository``, the apt entry to be added,
        empty for none.
    """
    refusals = Refusals()
    refusals.check(_check_service_manager, host, found["service_manager"])
    if servers["repository"]:
        refusals.check(lambda: apt_sources.check(found["apt_sources"], **servers["repository"]))
    refusals.check(accounts.check, found["accounts"], servers["group"], servers["instances"])
    refusals.stop()


def _check_service_manager(host: str, manager: str) -> None:
    if manager != SYSTEMD:
        problem = f"is not run by systemd but by {manager}, and the servers are units of systemd"
        remedy = "boot the host with systemd as its first process, or take it out of the fleet"
        raise WishError(host, problem, remedy)
