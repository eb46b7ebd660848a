# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host's state means for the wished driver."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import verdict
from driver_hosts import DRIVER_535, KERNEL, package, state

RESOLVED = {**DRIVER_535, "holds": {"driver": True, "kernel": []}}
BUILT = {
    "built": [{"version": "535.261.03", "kernel": KERNEL, "path": "/updates/dkms/nvidia.ko", "flavour": "proprietary"}],
    "dkms": [{"kernel": KERNEL, "version": "535.261.03", "status": "installed"}],
    "library_version": "535.261.03",
}


def judged(resolved=RESOLVED, loaded="535.261.03", **more):
    return verdict.judge(state(package("nvidia-driver"), loaded=loaded, **BUILT), resolved, **more)


def test_a_driver_that_is_loaded_and_fits_its_libraries_runs():
    found = judged()
    assert (found["live"], found["runs"], found["reboot_reasons"], found["unproven"]) == (True, True, [], "")


def test_one_that_is_not_loaded_waits_for_a_boot():
    found = judged(loaded=None)
    assert (found["live"], found["runs"]) == (True, False)
    assert found["reboot_reasons"] == ["the driver's modules could not be loaded"]


def test_check_mode_that_has_replaced_nothing_neither_sets_gpus_up_nor_asks_for_a_boot():
    found = judged(loaded="470.1", outdated=True)
    assert (found["runs"], found["reboot_reasons"]) == (False, [])


def test_where_no_driver_is_to_run_nothing_waits_for_a_boot():
    found = judged(loaded=None, require_live="false")
    assert (found["live"], found["runs"], found["reboot_reasons"]) == (False, False, [])


@pytest.mark.parametrize(
    ("headers", "remedy"), [(["linux-headers-amd64"], verdict.READ_THE_LOG), ([], verdict.OTHER_KERNEL)]
)
def test_modules_that_would_not_load_have_a_remedy_by_who_builds_them(headers, remedy):
    assert judged({**RESOLVED, "headers": headers})["remedy"] == remedy


@pytest.mark.parametrize(
    ("driver", "kernel", "held"),
    [
        (True, [], ["nvidia-driver", "nvidia-fabricmanager-535"]),
        (True, ["linux-image-amd64"], ["nvidia-driver", "nvidia-fabricmanager-535", "linux-image-amd64"]),
        (False, ["linux-image-amd64"], ["linux-image-amd64"]),
        (False, [], []),
    ],
)
def test_the_driver_and_the_kernel_are_held_each_by_its_own_wish(driver, kernel, held):
    holds = {"driver": driver, "kernel": kernel}
    assert judged({**RESOLVED, "fabric_manager": ["nvidia-fabricmanager-535"], "holds": holds})["hold"] == held
