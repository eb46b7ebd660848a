# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a host's driver: pure functions that make every decision for the role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import proof, steps

READ_THE_LOG = "read /var/lib/dkms/nvidia*/*/build/make.log on the host"
OTHER_KERNEL = "boot a kernel that the archive has modules for, or set nvidia_driver_modules to dkms"


def judge(
    state: Mapping[str, Any], resolved: Mapping[str, Any], require_live: str = "auto", outdated: bool = False
) -> dict[str, Any]:
    """Return the verdict on a host.

    :param state: the result of the module nvidia_driver_state.
    :param resolved: the result of ``packages.resolve``.
    :param require_live: whether the driver is to run in this kernel: ``auto``, ``true`` or ``false``.
    :param outdated: the host shows a driver that a run outside check mode would have replaced by now.
    """
    live = steps.live(state, resolved, require_live)
    judged = steps.wanted(state, resolved, require_live) and not outdated
    reasons = steps.reboot_reasons(state) if judged else []
    return {
        "unproven": proof.unproven(state, resolved),
        "remedy": READ_THE_LOG if resolved["headers"] else OTHER_KERNEL,
        "build": proof.to_build(state, resolved),
        "live": live,
        "runs": live and not outdated and not reasons,
        "reboot_reasons": reasons,
        "hold": _hold(state, resolved),
    }


def _hold(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Return the packages to hold at their versions, the fabric manager along with its driver."""
    installed = [package["name"] for package in state["packages"]["installed"]]
    held = [*installed, *resolved["fabric_manager"]] if resolved["holds"]["driver"] else []
    return [*held, *resolved["holds"]["kernel"]]
