# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a host's GPUs, driver and C library can run a release of the server, and what could instead."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import runtimes as server_runtimes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed

NEWEST = surveyed.newest()


def gpu(capability, name="NVIDIA Something", driver="580.95.05"):
    return {"index": 0, "name": name, "compute_capability": capability, "driver_version": driver}


def check(version, *gpus, libc="glibc 2.36", method="apt", driver=None, **options):
    topology = {"libc": libc, "driver_version": driver}
    refusal = server_runtimes.check(topology, version, method, gpus, **options)
    return refusal and str(refusal)


@pytest.mark.parametrize(
    ("version", "capability", "code"),
    [
        ("2.14.1", "3.5", "native"),
        ("2.19.1", "3.5", ""),
        ("2.19.1", "5.2", "native"),  # sm_50 runs on later minor versions
        ("2.20.0", "5.2", ""),
        ("2.19.1", "7.5", "native"),
        ("2.19.1", "8.9", "native"),
        ("2.19.1", "9.0", "ptx"),
        ("2.14.1", "9.0", "ptx"),
        ("2.20.0", "12.0", "ptx"),
        ("2.20.0", "8.6", "native"),
    ],
)
def test_code_for_a_gpu_is_native_or_compiled_by_the_driver_or_missing(version, capability, code):
    assert server_runtimes.runtime(version).code_for(capability) == code


@pytest.mark.parametrize("version", surveyed.releases())
def test_an_ordinary_host_is_not_refused(version):
    assert check(version, gpu("8.0"), gpu("7.5")) is None


def test_a_host_without_gpus_needs_no_driver():
    assert check("2.19.1") is None


def test_what_is_not_known_is_not_held_against_a_host():
    assert check("2.19.1", gpu(None, driver=None), libc=None) is None
    assert check("2.19.1", gpu("8.0", driver=None)) is None
    assert check("2.19.1", libc="musl 1.2.5") is None


REFUSALS = [
    (
        ("2.20.0",),
        {"libc": "glibc 2.31"},
        "tfserving_version: 2.20.0 is built for glibc 2.35, and this host has 2.31; set it to 2.19.1, or"
        " tfserving_install_method to image",
    ),
    (
        ("2.20.0",),
        {"libc": "glibc 2.17"},
        "tfserving_version: 2.20.0 is built for glibc 2.35, and this host has 2.17; use a newer system",
    ),
    (
        ("2.20.0", gpu("5.2", "Tesla M60")),
        {},
        "tfserving_version: 2.20.0 holds no code for this host's Tesla M60 (compute capability 5.2); set it to"
        " 2.19.1, the"
        " newest release that runs on it",
    ),
    (
        ("2.19.1", gpu("8.0", "NVIDIA A100", "470.256.02")),
        {},
        "tfserving_version: 2.19.1 needs driver 525.60.13 or newer for CUDA 12.2, and this host has 470.256.02; set"
        " nvidia_driver_branch to 525 or newer",
    ),
    (
        ("2.19.1", gpu("9.0", "NVIDIA H200", "525.147.05")),
        {},
        "tfserving_version: 2.19.1 needs driver 535.54.03 or newer for the PTX of CUDA 12.2 that NVIDIA H200 (compute"
        " capability 9.0) runs from, and this host has 525.147.05; set nvidia_driver_branch to 535 or newer",
    ),
    (
        ("2.20.0", gpu("9.0", "NVIDIA H200", "550.163.01")),
        {},
        "tfserving_version: 2.20.0 needs driver 555.42.06 or newer for the PTX of CUDA 12.5 that NVIDIA H200 (compute"
        " capability 9.0) runs from, and this host has 550.163.01; set nvidia_driver_branch to 555 or newer",
    ),
    (
        ("2.19.0", gpu("12.0", "NVIDIA RTX PRO 6000")),
        {},
        "tfserving_version: 2.19.0 is built with CUDA 12.2, and builds before CUDA 12.8 are known to fail on NVIDIA"
        " RTX PRO"
        " 6000 (compute capability 12.0); no surveyed release runs on it; use other GPUs, or tfserving_install_method:"
        " archive with a build of your own",
    ),
    (
        ("2.20.0", gpu("3.5", "Tesla K80")),
        {},
        "tfserving_version: 2.20.0 holds no code for this host's Tesla K80 (compute capability 3.5); set it to"
        " 2.14.1, the"
        " newest release that runs on it",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), REFUSALS)
def test_a_host_that_cannot_run_the_server_is_told_what_could(arguments, options, sentence):
    assert check(*arguments, **options) == sentence


def test_the_driver_of_the_host_counts_where_a_gpu_has_none_of_its_own():
    refusal = check("2.19.1", gpu("8.0", driver=None), driver="470.256.02")
    assert "needs driver 525.60.13 or newer" in refusal


def test_native_code_runs_on_a_driver_older_than_its_toolkit():
    assert check("2.20.0", gpu("8.0", driver="525.60.13")) is None


def test_an_image_brings_its_own_c_library():
    assert check("2.20.0", libc="glibc 2.31", method="image") is None


def test_what_is_reported_to_fail_can_be_tried_on_purpose():
    assert check("2.19.1", gpu("12.0"), allow_unproven=True) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"libc": "glibc 2.31"},
            f"is built for glibc {server_runtimes.runtime(NEWEST).glibc}, and this host has 2.31; set it to 2.19.1, or"
            " tfserving_install_method to image",
        ),
        (
            {"gpus": [gpu("3.5", "Tesla K80")]},
            "holds no code for this host's Tesla K80 (compute capability 3.5); set it to 2.14.1, the newest release"
            " that runs on it",
        ),
    ],
)
def test_a_release_that_nobody_surveyed_is_held_to_the_needs_of_the_newest_one(options, sentence):
    gpus = options.pop("gpus", [])
    assert check("2.99.0", *gpus, **options) == (
        f"tfserving_version: 2.99.0 was not surveyed, and {NEWEST}, the newest release that was, {sentence}, or set"
        " host_plan_policy.allow_unsurveyed_release to true if 2.99.0 runs here"
    )
    assert check("2.99.0", *gpus, **options, allow_unsurveyed=True) is None
    assert check(NEWEST, *gpus, **options, allow_unsurveyed=True) is not None


@pytest.mark.parametrize(("version", "row"), [("2.17.1", "2.17.0"), ("2.19.2", "2.19.1"), ("2.99.0", NEWEST)])
def test_a_release_outside_the_table_is_taken_for_the_one_before_it(version, row):
    assert server_runtimes.runtime(version).version == row


def test_the_table_has_exactly_the_releases_whose_flags_are_known():
    assert [each.version for each in server_runtimes.runtimes()] == surveyed.releases()
    for each in server_runtimes.runtimes():
        assert each.least_driver
        assert each.own_driver
