# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which instance gets which GPUs and MIG slices, and what is said where they are not there."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import IMAGE, box, gpus, instance, plan


def cut(*profiles, gpu=0):
    """A GPU in MIG mode with these slices."""
    found = [
        {"index": index, "profile": profile, "uuid": f"MIG-{gpu}{index}"} for index, profile in enumerate(profiles)
    ]
    return {"mig": {"mode": "enabled", "instances": found}}


def host(*mig):
    """A host whose GPUs are these: nothing for a whole one."""
    return box(gpus=[{**each, **more} for each, more in zip(gpus(len(mig)), mig)])


def given(machine, *wished):
    """Plan an instance for each wish; return the devices that each has."""
    instances = [instance(f"i{number}", gpus=wish) for number, wish in enumerate(wished)]
    return [each["gpus"] for each in plan(machine, instances, **IMAGE)["instances"]]


def refusal(machine, *wished):
    with pytest.raises(WishError) as caught:
        given(machine, *wished)
    return str(caught.value)


MIXED = host(cut("1g.10gb", "2g.20gb"), {})


def test_a_count_means_whole_gpus():
    assert given(MIXED, 1) == [["GPU-0001"]]


def test_a_slice_is_had_by_its_profile_its_id_and_in_no_other_way():
    assert given(MIXED, ["1g.10gb"], ["MIG-01"], 1) == [["MIG-00"], ["MIG-01"], ["GPU-0001"]]
    assert given(MIXED, ["2G.20GB"]) == [["MIG-01"]]


def test_slices_by_profile_are_had_by_one_instance_each_and_spread():
    machine = host(cut("1g.10gb", "1g.10gb"), cut("1g.10gb", "1g.10gb+me", gpu=1))
    assert given(machine, ["1g.10gb"], ["1g.10gb"], ["1g.10gb"], ["1g.10gb+me"]) == [
        ["MIG-00"], ["MIG-01"], ["MIG-10"], ["MIG-11"]
    ]  # fmt: skip


@pytest.mark.parametrize("profile", ["1g.24gb+gfx", "1g.24gb+me.all", "2g.48gb-me", "4g.96gb", "1c.3g.40gb"])
def test_a_slice_of_any_profile_of_nvidias_is_had_by_it(profile):
    """https://docs.nvidia.com/datacenter/tesla/mig-user-guide/, "Supported MIG Profiles"."""
    assert given(host(cut("1g.24gb", profile)), [profile]) == [["MIG-01"]]


def test_a_slice_that_is_named_by_its_id_is_not_given_away_by_its_profile():
    machine = host(cut("1g.10gb", "1g.10gb"))
    assert given(machine, ["1g.10gb"], ["MIG-00"]) == [["MIG-01"], ["MIG-00"]]


def test_the_plan_says_why():
    reasons = plan(MIXED, [instance(gpus=["1g.10gb"])], **IMAGE)["instances"][0]["reasons"]
    assert reasons["gpus"] == "MIG slice 0 of GPU 0: the profile 1g.10gb asked for"


MAKE = (
    "make slices with nvidia_driver_mig or 'nvidia-smi mig -cgi PROFILE -C', or switch MIG off with 'nvidia-smi -mig 0'"
)


@pytest.mark.parametrize(
    ("machine", "wished", "sentence"),
    [
        (
            host(cut()), [1],
            f"asks for GPUs, and GPU 0 is in MIG mode without a slice, so that nothing can run on it; {MAKE}",
        ),
        (
            host(cut(), cut()), [["1g.10gb"]],
            f"asks for GPUs, and GPUs 0-1 are in MIG mode without a slice, so that nothing can run on them; {MAKE}",
        ),
        (
            host(cut(), {}), [2],
            "asks for 2 GPUs, the host has 1, and GPU 0 is in MIG mode without a slice, so that nothing can run on it;"
            f" {MAKE}",
        ),
        (
            host(cut(), {}), [[0]],
            f"asks for GPU 0, and GPU 0 is in MIG mode without a slice, so that nothing can run on it; {MAKE}",
        ),
        (
            MIXED, [2],
            "asks for 2 GPUs, the host has 1 whole and 2 MIG slices (1g.10gb and 2g.20gb); name a slice by its profile,"
            " such as gpus: [1g.10gb], or ask for fewer",
        ),
        (
            host(cut("3g.40gb")), [1],
            "asks for 1 GPU, the host has 0 whole and 1 MIG slice (3g.40gb); name a slice by its profile, such as gpus:"
            " [3g.40gb], or ask for fewer",
        ),
        (
            MIXED, [["7g.80gb"]],
            "asks for a MIG slice 7g.80gb, the host has 1, MIG-00 (1g.10gb) and MIG-01 (2g.20gb); choose among those,"
            " or make one with nvidia_driver_mig",
        ),
        (
            host({}), [["1g.10gb"]],
            "asks for a MIG slice 1g.10gb, the host has GPU 0 only; choose among those, or make one with"
            " nvidia_driver_mig",
        ),
        (
            MIXED, [["MIG-nowhere"]],
            "asks for 'MIG-nowhere', the host has 1, MIG-00 (1g.10gb) and MIG-01 (2g.20gb); choose among those",
        ),
        (
            MIXED, [[0]],
            "asks for GPU 0, which is cut into 2 MIG slices; name a slice, such as MIG-00, or its profile, 1g.10gb",
        ),
        (
            MIXED, [["gpu-0000"]],
            "asks for 'gpu-0000', which is cut into 2 MIG slices; name a slice, such as MIG-00, or its profile,"
            " 1g.10gb",
        ),
        (
            host(cut(), {}), [["GPU-0000"]],
            "asks for 'GPU-0000', and GPU 0 is in MIG mode without a slice, so that nothing can run on it; make slices"
            " with nvidia_driver_mig or 'nvidia-smi mig -cgi PROFILE -C', or switch MIG off with 'nvidia-smi -mig 0'",
        ),
        (
            MIXED, [1, [1]],
            "asks for 1 GPU, the host has 1, all taken, and 2 MIG slices (1g.10gb and 2g.20gb); name a slice by its"
            " profile, such as gpus: [1g.10gb], or let instances share a GPU by listing the same one",
        ),
        (
            MIXED, [["1g.10gb", "2g.20gb"]],
            "names 1g.10gb and more, and CUDA gives a process one MIG slice only; use one slice for each instance",
        ),
        (
            box(gpu_count=0), [1],
            "asks for GPUs, the host has none; set it to 0, or run this instance on a host with GPUs",
        ),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_with_what_is(machine, wished, sentence):
    assert refusal(machine, *wished) == f"tfserving_instances[0].gpus: {sentence}"


def without(left_out, *found):
    """A host whose other GPUs are left out."""
    return {**host(*found), "gpus_left_out": [{"pci_address": address, "why": why} for address, why in left_out]}


VFIO = ("0000:2a:00.0", "vfio-pci holds it for a virtual machine")


def test_gpus_that_are_left_out_are_named_where_there_are_too_few():
    assert refusal(without([VFIO]), 1) == (
        "tfserving_instances[0].gpus: asks for GPUs, the host has none but 0000:2a:00.0 (vfio-pci holds it for a"
        " virtual machine); set it to 0, or run this instance on a host with GPUs"
    )
    assert refusal(without([VFIO], {}), 2) == (
        "tfserving_instances[0].gpus: asks for 2 GPUs, the host has 1, and 0000:2a:00.0 (vfio-pci holds it for a"
        " virtual machine); ask for fewer, or let instances share GPUs by listing the same ones"
    )
    assert "the host has none but 0000:10:00.0 (nvidia-smi leaves it out);" in refusal(host({"index": None}), 1)
    many = [(f"0000:{number}:00.0", "nvidia_driver_ignore names it") for number in range(10, 20)]
    assert "and 6 more; set it to 0" in refusal(without(many), 1)


LOST = {"index": None, "why": "is lost", "uuid": "GPU-1111", "pci_address": "0000:b5:00.0"}
SHARED_OUT = {"why": "is cut into 4 virtual functions for virtual machines", "pci_address": "0000:81:00.0"}


@pytest.mark.parametrize(
    ("machine", "wished", "problem"),
    [
        (host({}, LOST), 2, "asks for 2 GPUs, the host has 1, and 0000:b5:00.0 (is lost);"),
        (host(LOST), 1, "asks for GPUs, the host has none but 0000:b5:00.0 (is lost);"),
        (host({}, LOST), ["GPU-1111"], "asks for 'GPU-1111', the host has GPU 0 only, without 0000:b5:00.0 (is lost);"),
        (host({}, LOST), [1], "asks for GPU 1, the host has GPU 0 only, without 0000:b5:00.0 (is lost);"),
        (host({}, LOST), ["1g.10gb"], "the host has GPU 0 only, without 0000:b5:00.0 (is lost);"),
        (host(cut(), LOST), 1, "so that nothing can run on it, and 0000:b5:00.0 (is lost);"),
        (host(cut(), {}, LOST), 2, "so that nothing can run on it, and 0000:b5:00.0 (is lost);"),
        (host(cut("1g.10gb"), LOST), 1, "1 MIG slice (1g.10gb), and 0000:b5:00.0 (is lost);"),
        (
            host({}, SHARED_OUT), 2,
            "the host has 1, and 0000:81:00.0 (is cut into 4 virtual functions for virtual machines);",
        ),
        (host({}, SHARED_OUT), [1], "the host has GPU 0 only, without 0000:81:00.0 (is cut into 4 virtual functions"),
    ],
)  # fmt: skip
def test_a_gpu_that_something_speaks_against_is_never_given_and_named_with_the_reason(machine, wished, problem):
    assert problem in refusal(machine, wished)


def test_what_is_wrong_comes_before_what_is_ordinary():
    functions = [(f"0000:81:00.{number}", "it is a virtual function of 0000:81:00.0") for number in range(1, 8)]
    assert "the host has 1, and 0000:b5:00.0 (is lost), 0000:81:00.1 (" in refusal(without(functions, {}, LOST), 2)


def test_a_lost_gpu_in_mig_mode_is_lost_and_not_uncut():
    assert "the host has none but 0000:b5:00.0 (is lost);" in refusal(host({**cut(), **LOST}), 1)


def test_a_profile_that_others_have_taken_is_told():
    assert refusal(MIXED, ["1g.10gb"], ["1g.10gb"]) == (
        "tfserving_instances[1].gpus: asks for a MIG slice 1g.10gb, and none of the host's 1 is free; share one by its"
        " id, or make one with nvidia_driver_mig"
    )
