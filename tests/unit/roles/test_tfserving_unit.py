# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The unit of an instance as a whole: what the plan makes of it."""

from __future__ import annotations

import re

from planner_cases import ARCHIVE, IMAGE, box, gpus, instance, plan
from unit_cases import services

LIBRARIES = [
    {"name": "libcuda.so.1", "path": "/usr/lib/x86_64-linux-gnu/libcuda.so.1"},
    {"name": "libnvidia-ml.so.1", "path": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"},
]
RELEASE = "/opt/tfserving/releases/serving@sha256-a1a1a1a1a1a1a1a1"


def unit(wish=None, machine=None, **policy) -> str:
    """Return the unit of the only instance, its drop-in after it, as systemd puts them together."""
    return services(wish, machine, policy, __tfserving_tls=policy.get("tls", False))["tfserving@ranker.service"]


def values(text: str, directive: str) -> list[str]:
    return re.findall(rf"^{directive}=(.*)$", text, re.MULTILINE)


def test_an_instance_runs_as_itself_and_not_as_all_instances_of_the_template():
    # systemd names an account that has no name after the template: every instance would get the same.
    assert values(unit({"name": "ranker"}), "User") == ["tfserving-ranker"]
    assert values(unit(), "DynamicUser") == ["yes"]


def test_the_key_is_handed_to_the_instance_that_needs_it():
    text = unit(tls=True)
    assert values(text, "LoadCredential") == ["ssl.config:/etc/tfserving/%i/ssl.config"]
    assert "--ssl_config_file=/run/credentials/tfserving@ranker.service/ssl.config" in text
    assert values(unit(), "LoadCredential") == []


def test_an_instance_without_gpus_sees_no_devices_and_runs_on_the_hosts_tree():
    text = unit()
    assert values(text, "PrivateDevices") == ["yes"]
    assert values(text, "DeviceAllow") == []
    assert values(text, "RootDirectory") == []
    assert "tensorflow-model-server@2.19.1/rootfs/usr/bin/tensorflow_model_server" in text


def test_an_instance_may_open_its_own_gpus_and_what_cuda_needs_beside_them():
    machine = box(gpus=[{**gpu, "device": f"/dev/nvidia{7 - index}"} for index, gpu in enumerate(gpus(8, 2))])
    text = unit({"gpus": [2]}, machine, **IMAGE)
    assert values(text, "DevicePolicy") == ["closed"]
    assert values(text, "DeviceAllow") == [
        "/dev/nvidia5 rw",
        "/dev/nvidiactl rw",
        "/dev/nvidia-uvm rw",
        "/dev/nvidia-uvm-tools rw",
    ]
    assert values(text, "PrivateDevices") == []


def test_a_slice_of_a_gpu_may_show_its_capability():
    part = {"index": 0, "profile": "3g.40gb", "uuid": "MIG-1"}
    machine = box(gpus=[{"uuid": "GPU-1", "memory_mb": 81920, "mig": {"mode": "enabled", "instances": [part]}}])
    assert "char-nvidia-caps r" in values(unit({"gpus": ["MIG-1"]}, machine, **IMAGE), "DeviceAllow")


def test_an_image_is_the_root_and_shows_its_configuration_its_models_and_the_drivers_libraries():
    text = unit({"gpus": 1}, {**box(), "driver_libraries": LIBRARIES}, **IMAGE)
    assert values(text, "RootDirectory") == [f"{RELEASE}/rootfs"]
    assert values(text, "BindReadOnlyPaths") == [
        "/etc/tfserving/ranker",
        "/var/lib/tfserving/models",
        "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1:/run/nvidia-driver/libcuda.so.1",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1:/run/nvidia-driver/libnvidia-ml.so.1",
    ]
    assert "ExecStart=/usr/bin/tensorflow_model_server " in text


def test_the_libraries_of_the_driver_stay_outside_where_no_gpu_is_used():
    text = unit({}, {**box(), "driver_libraries": LIBRARIES}, **IMAGE)
    assert not [path for path in values(text, "BindReadOnlyPaths") if "nvidia" in path]


def test_code_that_the_driver_compiles_is_kept_in_a_place_that_the_unit_may_write():
    (planned,) = plan(box(), [instance(gpus=1)], **IMAGE)["instances"]
    assert planned["environment"]["CUDA_CACHE_PATH"] == "/var/cache/tfserving/ranker"
    assert "CacheDirectory=tfserving/%i" in unit({"gpus": 1}, **IMAGE)
    assert planned["environment"]["LD_LIBRARY_PATH"].startswith("/run/nvidia-driver:")


def test_an_archive_finds_the_drivers_libraries_by_itself():
    (planned,) = plan(box(), [instance(gpus=1)], **ARCHIVE)["instances"]
    assert "LD_LIBRARY_PATH" not in planned["environment"]
    assert planned["server"]["binary"].endswith("/rootfs/tensorflow_model_server")
