# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host whose driver has changed its branch under a server that was running."""

from __future__ import annotations

import json

import pytest

BRANCHES = {"bookworm": ("535", "470"), "trixie": ("550", "535")}

# Packages that fit every branch and count for themselves.
OWN_NUMBERS = ("nvidia-persistenced ", "nvidia-modprobe ")


@pytest.fixture
def branches(host):
    """The branch before and after."""
    return BRANCHES[host.system_info.codename]


def test_the_new_branch_is_alone(host, branches):
    old, new = branches
    installed = host.check_output(
        "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\\n'"
    ).splitlines()
    drivers = [line for line in installed if "nvidia" in line and line.endswith(" installed")]
    assert any(line.startswith(f"nvidia-tesla-{new}-kernel-dkms {new}.") for line in drivers)
    assert not [line for line in drivers if f" {old}." in line and not line.startswith(OWN_NUMBERS)]


def test_what_the_host_has_besides_stays_also_where_nothing_needs_it(host):
    assert host.package("orphan").is_installed


def test_the_new_driver_runs_without_a_boot(host, branches):
    assert host.file("/sys/module/nvidia/version").content_string.startswith(f"{branches[1]}.")


def test_the_pin_and_the_holds_are_those_of_the_new_branch(host, branches):
    assert f"{branches[1]}.*" in host.file("/etc/apt/preferences.d/nvidia-driver.pref").content_string
    held = host.check_output("apt-mark showhold").split()
    assert f"nvidia-tesla-{branches[1]}-kernel-dkms" in held
    assert "nvidia-kernel-dkms" not in held


def test_the_server_was_stopped_for_the_change_and_runs_again(host):
    journal = host.check_output("journalctl --unit tfserving@ranker.service --no-pager")
    assert "Stopped" in journal
    assert host.service("tfserving@ranker.service").is_running


def test_settings_that_are_no_longer_wished_are_taken_back(host):
    machine = json.loads(host.file("/var/lib/simulated-gpu/state.json").content_string)
    assert [gpu["power.limit"] for gpu in machine["gpus"]] == [70.0, 70.0]
    assert machine["gpus"][1]["compute_mode"] == "Default"
    assert machine["gpus"][1]["locked.graphics"] is None
