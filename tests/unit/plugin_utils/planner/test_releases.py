# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which releases of the server a host can run: surveyed or not, with its GPUs, driver and C library."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from planner_cases import ARCHIVE, CPU_HOST, IMAGE, box, gpus, instance, only, plan, refusal

NEWER = {
    "version": "2.99.0",
    "install_method": "image",
    "releases": {"images": {"2.99.0": f"registry.example/tensorflow/serving@sha256:{'a1' * 32}"}},
}
PERMITTED = {**NEWER, "allow_unsurveyed_release": True}


def test_a_release_that_nobody_surveyed_is_planned_for_as_the_newest_one_with_a_warning():
    warnings = plan(CPU_HOST, [instance()], **NEWER)["warnings"]
    assert warnings == [
        f"tfserving_version: 2.99.0 was not surveyed, so it is planned for as {surveyed.newest()}, the newest release"
        " that was; its flags, the fields of its files and its needs of a host may differ"
    ]
    assert plan(CPU_HOST, [instance()])["warnings"] == []


def test_flags_and_fields_that_nobody_surveyed_need_a_permission():
    known = f"2.99.0 was not surveyed, and {surveyed.newest()}, the newest release that was, has no such"
    permit = "set host_plan_policy.allow_unsurveyed_release to true if 2.99.0 has it"
    assert refusal({"flags": {"frobnicate": 1}}, **NEWER) == (
        f"tfserving_instances[0].flags.frobnicate: {known} flag; leave it out, or {permit}"
    )
    assert refusal({"batching": {"frobnicate": 1}}, **NEWER) == (
        f"tfserving_instances[0].batching.frobnicate: {known} field in BatchingParameters; leave it out, or {permit}"
    )
    assert refusal({"batching": {"max_batchsize": 1}}, **NEWER) == (
        f"tfserving_instances[0].batching.max_batchsize: {known} field in BatchingParameters; did you mean"
        f" 'max_batch_size'? Otherwise, {permit}"
    )


def test_permitted_flags_and_fields_are_in_the_plan():
    wish = {"flags": {"frobnicate": 1}, "batching": {"max_batch_size": 8, "frobnicate": {"value": 2}}}
    found = only(wish, **PERMITTED)
    assert found["flags"]["frobnicate"] == 1
    assert found["batching"]["max_batch_size"] == 8
    assert found["batching"]["frobnicate"] == {"value": 2}
    assert {"flags.frobnicate", "batching.frobnicate"} <= set(found["overrides"])


def test_the_permission_means_nothing_to_a_surveyed_release():
    assert "the server has no such flag" in refusal({"flags": {"frobnicate": 1}}, allow_unsurveyed_release=True)
    assert "is not a key of batching" in refusal({"batching": {"frobnicate": 1}}, allow_unsurveyed_release=True)


def test_gpus_need_a_build_that_apt_does_not_have():
    assert refusal({"gpus": 1}, machine=box()) == (
        "tfserving_instances[0].gpus: asks for GPUs, and the packages that apt installs are CPU builds; set"
        " tfserving_install_method to image or archive, or gpus to 0"
    )


@pytest.mark.parametrize("method", ["apt", "image"])
def test_upstream_builds_are_for_x86_64_only(method):
    arm = {**CPU_HOST, "architecture": "aarch64"}
    assert "for which upstream builds x86_64 only, and this host is aarch64; use archive" in refusal(
        machine=arm, install_method=method
    )
    assert only(machine=arm, **ARCHIVE)["environment"]["LD_PRELOAD"].startswith("/usr/lib/aarch64")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"preset": "balansed"}, "tfserving_allocator_preset: 'balansed' is not a preset; did you mean 'balanced'?"),
        ({"conf": {"dirty_decay": 1}}, "tfserving_allocator_conf.dirty_decay: is not a tuning option of jemalloc"),
    ],
)
def test_an_allocator_that_cannot_be_is_refused_by_the_users_name_for_it(policy, message):
    assert message in refusal(jemalloc=policy)


def gpu_host(capability: str, driver: str = "580.95.05", **keys):
    """Return a host with two GPUs of a kind."""
    kind = {"name": "NVIDIA X", "compute_capability": capability, "driver_version": driver}
    return box(gpus=gpus(2, 2, **kind), **keys)


def test_a_gpu_that_the_release_holds_no_code_for_is_refused():
    assert refusal({"gpus": 1}, machine=gpu_host("5.2"), version="2.20.0", **IMAGE) == (
        "tfserving_version: 2.20.0 holds no code for this host's NVIDIA X (compute capability 5.2);"
        " set it to 2.19.1, the newest release that runs on it"
    )


def test_a_driver_that_is_too_old_for_the_release_is_refused():
    assert refusal({"gpus": 1}, machine=gpu_host("8.0", "515.65.01"), version="2.19.1", **IMAGE) == (
        "tfserving_version: 2.19.1 needs driver 525.60.13 or newer for CUDA 12.2, and this host has 515.65.01;"
        " set nvidia_driver_branch to 525 or newer"
    )


def test_gpus_that_no_instance_uses_are_not_held_against_a_host():
    assert plan(gpu_host("5.2"), [instance()], version="2.20.0", **IMAGE)["instances"]


def test_blackwell_is_refused_until_its_users_give_leave():
    assert "are known to fail on NVIDIA X" in refusal({"gpus": 1}, machine=gpu_host("10.0"), **IMAGE)
    assert only({"gpus": 1}, machine=gpu_host("10.0"), allow_unproven_gpus=True, **IMAGE)["gpus"]


def test_a_c_library_older_than_the_release_is_refused_unless_the_server_brings_its_own():
    old = {**CPU_HOST, "libc": "glibc 2.31"}
    assert refusal(machine=old, version="2.20.0") == (
        "tfserving_version: 2.20.0 is built for glibc 2.35, and this host has 2.31;"
        " set it to 2.19.1, or tfserving_install_method to image"
    )
    assert only(machine=old, version="2.20.0", **IMAGE)


def test_gpus_that_wait_for_a_boot_are_refused_to_those_who_ask_for_them():
    waiting = {"driver_waits_for_boot": ["the running kernel holds 535 and the libraries are 580"]}
    assert refusal({"gpus": 1}, machine=gpu_host("8.0"), **waiting, **IMAGE) == (
        "tfserving_instances[0].gpus: asks for GPUs that this host can use only after a reboot:"
        " the running kernel holds 535 and the libraries are 580;"
        " set nvidia_driver_reboot_ok, or reboot it and run this again"
    )
    assert only(machine=gpu_host("8.0"), **waiting, **IMAGE)


@pytest.mark.parametrize("mode", ["legacy", "hybrid"])
def test_rules_that_the_kernel_would_not_heed_are_warned_of(mode):
    machine = {**CPU_HOST, "cgroup_mode": mode}
    sentence = (
        f"tfserving_address_rules: systemd filters no addresses where the cgroup hierarchy is {mode}, so anyone can"
        " connect to the servers, and they to anyone; set it to nftables"
    )
    assert sentence in plan(machine)["warnings"]
    assert sentence not in plan(machine, address_rules="nftables")["warnings"]
    assert sentence not in plan({**machine, "cgroup_mode": "unified"})["warnings"]
