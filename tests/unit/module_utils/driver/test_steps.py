# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What has to be done to a host for its driver, what is refused before it is begun, and when only a boot helps."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import proof as driver_proof
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as driver_steps
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages
from driver_hosts import DRIVER_535, HEADERS, HOST, KERNEL, package, state

DRIVER_535_OPEN = driver_packages.resolve({"flavour": "open"}, HOST, [{"device_id": "0x1eb8"}])
DRIVER_470 = driver_packages.resolve({"branch": "470"}, HOST, [{"device_id": "0x1eb8"}])
LIBRARIES = driver_packages.resolve({"modules": "none"}, HOST, [{"device_id": "0x1eb8"}])


def whole(resolved, version="535.261.03-1"):
    return [package(name, version) for name in resolved["packages"]]


def steps(found, resolved=DRIVER_535, clients=("tfserving@*.service",)):
    return driver_steps.steps(found, resolved, clients)


class TestSteps:
    def test_a_fresh_host_gets_everything(self):
        assert steps(state()) == {
            "kind": "install",
            "install": DRIVER_535["packages"],
            "purge": [],
            "replaces": False,
            "unproven": f"dkms has not built driver 535 for kernel {KERNEL}",
        }

    def test_a_host_that_has_the_driver_needs_nothing(self):
        assert steps(state(*whole(DRIVER_535), loaded="535.261.03"))["kind"] == "none"

    def test_a_newer_version_of_the_branch_is_as_good(self):
        assert steps(state(*whole(DRIVER_535, "535.274.02-1")))["kind"] == "none"

    def test_an_exact_version_is_brought_in(self):
        exact = driver_packages.resolve({"version": "535.261.03"}, HOST, [])
        result = steps(state(*whole(exact, "535.274.02-1")), exact)
        assert (result["kind"], result["install"]) == ("change", exact["packages"])

    def test_another_branch_goes_whole_before_the_new_one_comes(self):
        found = state(*whole(DRIVER_535), package("firmware-nvidia-gsp"), package("nvidia-support", "20220217+3"))
        result = steps(found, DRIVER_470)
        assert result["kind"] == "change"
        assert {"firmware-nvidia-gsp", "libcuda1", "nvidia-kernel-dkms"} <= set(result["purge"])
        assert "nvidia-support" not in result["purge"]
        assert "nvidia-persistenced" not in result["purge"], "fits every branch"

    def test_the_same_branch_in_another_packaging_goes_too(self):
        tesla = package("nvidia-tesla-535-kernel-dkms", "535.216.03-3")
        assert steps(state(*whole(DRIVER_535), tesla))["purge"] == ["nvidia-tesla-535-kernel-dkms"]

    def test_the_other_flavour_of_the_modules_goes(self):
        assert steps(state(*whole(DRIVER_535)), DRIVER_535_OPEN)["purge"] == ["nvidia-kernel-dkms"]

    def test_headers_are_brought_in_where_the_kernel_has_none(self):
        found = state(*whole(DRIVER_535))
        found["kernel"]["headers"], found["packages"]["headers"] = False, []
        result = steps(found)
        assert (result["kind"], result["install"]) == ("install", HEADERS)

    def test_headers_that_lie_there_without_a_package_are_as_good(self):
        found = state(*whole(DRIVER_535))
        found["packages"]["headers"] = ["linux-headers-amd64"]
        assert steps(found)["kind"] == "none"

    def test_removal_takes_everything(self):
        found = state(*whole(DRIVER_535), package("nvidia-support", "20220217+3"), loaded="535.261.03")
        result = steps(found, {})
        assert (result["kind"], len(result["purge"]), result["replaces"]) == ("remove", 7, True)


class TestRefusals:
    def refusal(self, found, resolved=DRIVER_535, clients=("tfserving@*.service",)):
        with pytest.raises(WishError) as caught:
            driver_steps.steps(found, resolved, clients)
        return str(caught.value)

    def test_modules_that_secure_boot_would_not_load_are_not_built(self):
        boot = {"state": "enabled", "certificate": "/var/lib/dkms/mok.pub", "enrolled": False}
        assert self.refusal(state(secure_boot=boot)) == (
            "nvidia_driver_modules: Secure Boot is on, and no key that signs what dkms builds is enrolled, so the"
            " kernel"
            " would not load the driver; enrol it with 'mokutil --import /var/lib/dkms/mok.pub' and confirm at the"
            " console"
            " during the next boot, or turn Secure Boot off"
        )

    def test_without_a_key_the_refusal_says_that_one_has_to_be_made(self):
        boot = {"state": "enabled", "certificate": None, "enrolled": False}
        assert "create a key for dkms as docs/nvidia-driver.md shows, enrol it" in self.refusal(state(secure_boot=boot))

    def test_an_enrolled_key_or_prebuilt_modules_satisfy_secure_boot(self):
        boot = {"state": "enabled", "certificate": "/var/lib/dkms/mok.pub", "enrolled": True}
        assert steps(state(secure_boot=boot))["kind"] == "install"
        unsigned = {**boot, "enrolled": False}
        assert steps(state(secure_boot=unsigned), LIBRARIES)["kind"] == "install"

    def test_a_process_that_nobody_declared_keeps_its_driver(self):
        users = [{"pid": 4711, "name": "python3", "unit": "session-3.scope"}]
        assert self.refusal(state(*whole(DRIVER_535), loaded="535.261.03", users=users), DRIVER_470) == (
            "nvidia_driver_clients: the driver is to be replaced, and python3 (session-3.scope 4711) uses a GPU"
            " without being"
            " listed; add the unit, which is then stopped and started again, or stop the process"
        )

    def test_many_processes_are_told_by_the_first_three(self):
        users = [{"pid": pid, "name": "worker", "unit": None} for pid in range(5)]
        said = self.refusal(state(*whole(DRIVER_535), loaded="535.261.03", users=users), DRIVER_470)
        assert "worker (process 0), worker (process 1), worker (process 2) and 2 more use a GPU" in said

    def test_declared_clients_and_the_drivers_own_daemons_may_be_stopped(self):
        users = [
            {"pid": 1, "name": "tensorflow_model_server", "unit": "tfserving@ranker.service"},
            {"pid": 2, "name": "nvidia-persiste", "unit": "nvidia-persistenced.service"},
        ]
        assert steps(state(*whole(DRIVER_535), loaded="535.261.03", users=users), DRIVER_470)["replaces"]

    def test_nobody_is_asked_where_nothing_changes(self):
        users = [{"pid": 4711, "name": "python3", "unit": None}]
        assert steps(state(*whole(DRIVER_535), loaded="535.261.03", users=users))["kind"] == "none"

    def test_a_driver_in_use_is_not_removed_even_from_declared_clients(self):
        users = [{"pid": 1, "name": "tensorflow_mode", "unit": "tfserving@ranker.service"}]
        assert self.refusal(state(*whole(DRIVER_535), loaded="535.261.03", users=users), {}) == (
            "nvidia_driver_state: the driver is to be removed, and tensorflow_mode (tfserving@ranker.service 1)"
            " uses a GPU;"
            " stop what uses it first"
        )


class TestProof:
    MODULE = {"path": "/lib/modules/x", "version": "535.261.03", "kernel": KERNEL, "flavour": "proprietary"}
    BUILT = {"name": "nvidia-current", "version": "535.261.03", "kernel": KERNEL, "status": "installed"}

    def test_modules_that_dkms_has_installed_and_modinfo_knows_are_proven(self):
        assert driver_proof.unproven(state(dkms=[self.BUILT], built=[self.MODULE]), DRIVER_535) == ""

    @pytest.mark.parametrize(
        ("parts", "resolved", "sentence"),
        [
            ({"built": [MODULE]}, DRIVER_535, f"dkms has not built driver 535 for kernel {KERNEL}"),
            (
                {"built": [MODULE], "dkms": [{**BUILT, "kernel": "6.1.0-39-amd64"}]},
                DRIVER_535,
                f"dkms has not built driver 535 for kernel {KERNEL}",
            ),
            ({"dkms": [BUILT]}, DRIVER_535, f"no module of driver 535 lies in /lib/modules/{KERNEL}"),
            (
                {"dkms": [BUILT], "built": [MODULE]},
                DRIVER_535_OPEN,
                f"the modules for kernel {KERNEL} are proprietary, not open",
            ),
        ],
    )
    def test_everything_else_is_told_in_a_sentence(self, parts, resolved, sentence):
        assert driver_proof.unproven(state(**parts), resolved) == sentence

    def test_without_modules_there_is_nothing_to_prove(self):
        assert driver_proof.unproven(state(), LIBRARIES) == ""


class TestReboot:
    def reasons(self, loaded=None, library="535.261.03", running=KERNEL, nouveau=False, pending=()):
        found = state(loaded=loaded, library_version=library)
        found["kernel"]["running"], found["loaded"]["nouveau"] = running, nouveau
        return driver_steps.reboot_reasons(found, pending)

    def test_a_driver_that_runs_needs_no_boot(self):
        assert self.reasons(loaded="535.261.03") == []

    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            ({"loaded": "470.256.02"}, "the kernel runs driver 470.256.02, and the libraries are 535.261.03"),
            ({}, "the driver's modules could not be loaded"),
            ({"nouveau": True}, "nouveau holds the GPUs and could not be unloaded"),
            ({"running": "6.1.0-39-amd64"}, f"the driver is built for kernel {KERNEL}, and 6.1.0-39-amd64 runs"),
            ({"loaded": "535.261.03", "pending": ["ECC of GPU 0 changes"]}, "ECC of GPU 0 changes"),
        ],
    )
    def test_each_reason_is_a_sentence(self, parts, reason):
        assert self.reasons(**parts) == [reason]

    @pytest.mark.parametrize(
        ("require", "container", "live"),
        [("auto", False, True), ("auto", True, False), ("true", True, True), ("false", False, False)],
    )
    def test_containers_do_not_run_drivers_unless_told_to(self, require, container, live):
        assert driver_steps.live(state(container=container), DRIVER_535, require) is live

    def test_nothing_is_live_for_another_kernel_or_without_modules(self):
        found = state()
        found["kernel"]["wanted"] = "6.1.0-41-amd64"
        assert not driver_steps.live(found, DRIVER_535, "true")
        assert driver_steps.wanted(found, DRIVER_535, "true"), "after a boot"
        assert not driver_steps.live(state(), LIBRARIES, "true")
