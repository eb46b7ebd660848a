# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the role nvidia_driver decides of a host."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import plan
from driver_hosts import DRIVER_535, KERNEL, host_of, package
from refusing import refusal

SYSTEM = {"distribution": "Debian", "release": "12", "architecture": "x86_64"}
WISH = {
    "state": "present",
    "repository": "distribution",
    "repository_uri": "",
    "key_url": "",
    "key_fingerprint": "",
    "branch": "auto",
    "version": "",
    "flavour": "auto",
    "variant": "server",
    "modules": "dkms",
    "clients": ["tfserving@*.service"],
    "persistence": True,
    "fabric_manager": "auto",
    "mig": {},
    "hold": True,
    "hold_kernel": False,
    "reboot_ok": False,
}
INSTALLED = [package(name) for name in DRIVER_535["packages"]]
BUILT = {
    "built": [{"version": "535.261.03", "kernel": KERNEL, "path": "/updates/dkms/nvidia.ko", "flavour": "proprietary"}],
    "dkms": [{"kernel": KERNEL, "version": "535.261.03", "status": "installed"}],
    "library_version": "535.261.03",
}


def planned(host: dict[str, Any], is_controller: bool = False, **wish: Any) -> dict[str, Any]:
    return plan.plan({**WISH, **wish}, host, SYSTEM, is_controller)


@pytest.mark.parametrize(
    ("wished", "edition", "aim"),
    [
        ("present", None, "present"),
        ("present", "vgpu_guest", "present"),  # and then refused
        ("present", "tegra", "untouched"),
        ("absent", None, "absent"),
        ("absent", "tegra", "untouched"),
        ("unmanaged", None, "untouched"),
        ("unmanaged", "vgpu_host", "untouched"),
    ],
)
def test_a_driver_is_brought_or_removed_where_nothing_speaks_against_it(wished, edition, aim):
    assert plan.aim(wished, host_of(edition=edition)["driver"]) == aim


@pytest.mark.parametrize(
    ("host", "wish", "due"),
    [
        (host_of(), {}, "change"),
        (host_of(*INSTALLED, **BUILT), {}, "settled"),
        (host_of(*INSTALLED), {}, "change"),  # no modules
        (host_of(*INSTALLED, **BUILT, packages={"installed": INSTALLED, "headers": ["linux-headers-6.1.0-40-amd64",
            "linux-headers-amd64"], "broken": ["nvidia-driver"]}), {}, "change"),
        (host_of(gpus=[]), {}, "none"),
        (host_of(*INSTALLED, **BUILT), {"state": "unmanaged"}, "none"),
        (host_of(*INSTALLED, **BUILT), {"state": "absent"}, "change"),
    ],
    ids=["no driver", "all there", "not built", "half configured", "no GPU", "unmanaged", "to be removed"],
)  # fmt: skip
def test_hosts_are_sorted_by_what_their_driver_needs(host, wish, due):
    assert planned(host, **wish)["due"] == due


def test_a_host_that_is_passed_over_needs_no_facts_of_its_system():
    assert plan.plan(WISH, host_of(gpus=[]), {}) == {
        "aim": "untouched",
        "due": "none",
        "missing": [],
        "reboot": {"allowed": False, "request": "Set nvidia_driver_reboot_ok, or reboot it yourself."},
    }


def test_what_apt_is_asked_for_is_named_without_versions():
    assert "nvidia-driver" not in planned(host_of(*INSTALLED, **BUILT))["missing"]
    assert set(DRIVER_535["packages"]) <= set(planned(host_of())["missing"])


@pytest.mark.parametrize(
    ("reboot_ok", "is_controller", "allowed", "request_"),
    [
        (False, False, False, "Set nvidia_driver_reboot_ok, or reboot it yourself."),
        (True, False, True, "Run this again to reboot it."),
        (False, True, False, "It is the controller itself, so reboot it by hand."),
        (True, True, False, "It is the controller itself, so reboot it by hand."),
    ],
)
def test_the_controller_is_never_booted_and_others_with_leave(reboot_ok, is_controller, allowed, request_):
    found_ = planned(host_of(gpus=[]), is_controller, reboot_ok=reboot_ok)["reboot"]
    assert found_ == {"allowed": allowed, "request": request_}


def test_the_archive_is_named_where_the_hosts_own_files_lack_a_component():
    missing = planned(host_of())["repository"]
    assert missing == {
        "vendor": False,
        "missing": True,
        "uri": "http://deb.debian.org/debian",
        "suites": ["bookworm", "bookworm-updates"],
        "components": ["contrib", "non-free", "non-free-firmware"],
        "keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    }
    there = [{"file": "/etc/apt/sources.list", "component": name} for name in missing["components"]]
    ours = [{"file": plan.SOURCES, "component": name} for name in missing["components"]]
    assert planned(host_of(components=there))["repository"]["missing"] is False
    assert planned(host_of(components=ours))["repository"]["missing"] is True


def test_nvidias_repository_has_its_key_beside_it_unless_the_inventory_says_otherwise():
    source = planned(host_of(), repository="nvidia")["repository"]
    assert source["uri"] == "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"
    assert source["key_url"].startswith(source["uri"])
    assert (source["suites"], source["components"]) == (["/"], [])
    mirror = planned(host_of(), repository="nvidia", repository_uri="https://m/r", key_url="/k", key_fingerprint="F")
    assert mirror["repository"]["uri"] == "https://m/r/debian12/x86_64/"
    assert (mirror["repository"]["key_url"], mirror["repository"]["fingerprint"]) == ("/k", "F")


def test_only_the_files_that_a_host_needs_are_laid_down():
    assert planned(host_of())["exclude"] == {
        "before": ["etc/systemd/system/nvidia-fabricmanager.service.d/*"],
        "after": [],
        "gpus": ["etc/nvidia-mig-manager/**"],
    }
    there = [{"file": "x", "component": name} for name in ("contrib", "non-free", "non-free-firmware")]
    lean = planned(host_of(components=there), persistence=False, modules="none", mig={"name": "x", "devices": [{}]})[
        "exclude"
    ]
    assert lean["before"][:2] == [
        "etc/apt/sources.list.d/*",
        "etc/systemd/system/nvidia-persistenced.service.d/*",
    ]
    assert (lean["after"], lean["gpus"]) == (["**"], [])


@pytest.mark.parametrize("mig", [{"name": "halves"}, {"name": "", "devices": [{}]}, {"devices": [{}]}])
def test_a_mig_geometry_without_a_name_or_devices_is_refused(mig):
    assert refusal(partial(planned, mig=mig), host_of()) == (
        "nvidia_driver_mig: lacks its name or its devices; give both, or leave it empty"
    )


def test_everything_that_cannot_work_is_refused_at_once():
    conflict = {
        "file": "/etc/apt/sources.list.d/x.list",
        "line": 1,
        "uri": "http://deb.debian.org/debian",
        "suite": "bookworm",
        "signed_by": "/x",
        "trusted": "",
    }
    user = {"name": "python3", "unit": None, "pid": 7}
    loaded = {"version": "470.1", "nouveau": False, "modules": ["nvidia"], "flavour": "proprietary"}
    host = host_of(sources=[conflict], users=[user], loaded=loaded)
    sentences = refusal(planned, host).splitlines()
    assert sentences[0].startswith("/etc/apt/sources.list.d/x.list:1: names the repository that this role keeps in")
    assert sentences[1] == "and 1 more:"
    assert sentences[2].startswith(
        "- nvidia_driver_clients: the driver is to be replaced, and python3 (process 7) uses"
    )
