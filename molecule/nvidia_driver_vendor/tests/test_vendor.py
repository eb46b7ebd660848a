# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with NVSwitches and the driver from NVIDIA's repository."""

from __future__ import annotations

import json

import pytest

VERSION = "590.48.01"


@pytest.mark.parametrize(
    "name", ["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "libnvidia-ml1", "nvidia-fabricmanager"]
)
def test_all_parts_are_the_newest_of_the_branch(host, name):
    assert host.package(name).version == f"{VERSION}-1"


def test_the_branch_is_pinned_by_the_vendors_own_package_too(host):
    assert host.package("nvidia-driver-pinning-590").is_installed
    assert f"Candidate: {VERSION}-1" in host.check_output("apt-cache policy libnvidia-ml1")


def test_everything_is_held_the_fabric_manager_among_it(host):
    held = set(host.check_output("apt-mark showhold").split())
    assert {"nvidia-driver-cuda", "libnvidia-ml1", "nvidia-fabricmanager", "nvidia-kernel-open-dkms"} <= held


def test_the_repository_is_flat_and_trusted_by_its_own_key_alone(host):
    source = host.file("/etc/apt/sources.list.d/nvidia-driver.sources").content_string
    assert "URIs: file:/opt/vendor/debian12/x86_64/" in source
    assert "Suites: /" in source
    assert "Components" not in source
    assert "Signed-By: /etc/apt/keyrings/nvidia-driver.gpg" in source


def test_the_open_modules_run(host):
    assert "Open Kernel Module" in host.file("/proc/driver/nvidia/version").content_string
    assert host.file("/sys/module/nvidia/version").content_string.strip() == VERSION


def test_the_fabric_manager_runs_where_there_are_switches(host):
    assert host.service("nvidia-fabricmanager.service").is_running
    assert host.service("nvidia-fabricmanager.service").is_enabled
    unit = host.check_output("systemctl cat nvidia-fabricmanager.service")
    assert "ConditionPathExists=/dev/nvidia-nvswitchctl" in unit


def test_the_server_was_planned_with_the_gpus_that_the_driver_brought(host):
    (instance,) = json.loads(host.file("/etc/tfserving/plan.json").content_string)["instances"]
    assert instance["environment"]["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "GPU" in instance["reasons"]["environment.CUDA_VISIBLE_DEVICES"]


def test_the_server_answers_on_a_host_with_gpus(serving, known):
    sample = known("digits")
    answer = serving("digits", 8501).predict("digits", sample["request"])["predictions"]
    assert [row["class_id"] for row in answer] == [row["class_id"] for row in sample["answers"]["1"]["predictions"]]


def test_a_version_that_is_not_there_leaves_apt_and_the_driver_as_they_were(host, site, apt_files):
    installed = "dpkg-query --show '*nvidia*'"
    before = apt_files(), host.check_output(installed)
    run = site(nvidia_driver_version="590.99.99")
    assert run.status != 0
    assert "The sources, preferences and keyrings of apt are again as they were." in run.message
    assert (apt_files(), host.check_output(installed)) == before


def test_an_entry_by_hand_for_nvidias_repository_is_named(host, site, apt_files):
    before = apt_files()
    own, by_hand = (f"/etc/apt/sources.list.d/{name}" for name in ("nvidia-driver.sources", "cuda.list"))
    entry = "deb [signed-by=/usr/share/keyrings/cuda.gpg] file:/opt/vendor/debian12/x86_64/ /"
    host.check_output("echo %s > %s", entry, by_hand)
    try:
        run = site()
    finally:
        host.check_output("rm %s", by_hand)
    assert run.status != 0
    assert f"{by_hand}:1: names the repository that this role keeps in {own}, signed by" in run.message
    assert apt_files() == before
