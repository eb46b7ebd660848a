# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Unit lines that confine an instance to its release, its files and its GPUs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils import unit_text
from ansible_collections.tfserving.fleet.plugins.module_utils.driver.files import Library
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import Release
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Gpu

from .schema import InstancePlan, Paths

# Devices that CUDA opens in addition to the GPUs. nvidia-modeset is for displays.
CONTROL_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
# The capabilities of MIG slices; the driver checks which minor belongs to which slice.
SLICE_DEVICES = "char-nvidia-caps"

# The driver's libraries in a release's own root: on the empty /run that systemd mounts there, so the release itself
# stays as unpacked.
DRIVER_FOLDER = "/run/nvidia-driver"
# From upstream's recipe of the GPU image (tools/docker/Dockerfile.gpu); follows the driver's own libraries.
IMAGE_LIBRARIES = "/usr/local/cuda/extras/CUPTI/lib64:/usr/local/nvidia/lib:/usr/local/nvidia/lib64"

CACHE = "/var/cache/tfserving"


def lines(
    instance: InstancePlan,
    preloaded: str,
    release: Release,
    gpus: Sequence[Gpu],
    libraries: Sequence[Library],
    paths: Paths,
) -> dict[str, str | list[str]]:
    """Return directives as ``{directive: value}``; a list of values gives one line each.

    :param preloaded: the value of ``LD_PRELOAD``, whose files the unit must be able to see.
    :param gpus: the topology's entries for the instance's GPUs.
    :param libraries: ``driver_libraries`` of the topology.
    """
    root = _root(instance, preloaded, release, libraries, paths) if release["chroot"] else {}
    return {**_devices(instance, gpus), **root}


def _devices(instance: InstancePlan, gpus: Sequence[Gpu]) -> dict[str, str | list[str]]:
    # PrivateDevices= would hide GPUs; without any to use, it is shorter and stricter.
    if not gpus:
        return {"PrivateDevices": "yes"}
    nodes = [unit_text.whole(gpu.get("device") or f"/dev/nvidia{gpu['index']}") for gpu in gpus]
    allowed = [f"{node} rw" for node in (*sorted(set(nodes)), *CONTROL_DEVICES)]
    if any(str(name).startswith("MIG-") for name in instance["gpus"]):
        allowed.append(f"{SLICE_DEVICES} r")
    return {"DevicePolicy": "closed", "DeviceAllow": allowed}


def _root(
    instance: InstancePlan,
    preloaded: str,
    release: Release,
    libraries: Sequence[Library],
    paths: Paths,
) -> dict[str, str | list[str]]:
    shown = [unit_text.path(each) for each in (f"{paths['config']}/{instance['name']}", paths["models"])]
    shown += [unit_text.path(library) for library in re.split(r"[\s:]+", preloaded) if library]
    if instance["gpus"]:
        shown += [_bind(library["path"], f"{DRIVER_FOLDER}/{library['name']}") for library in libraries]
    return {
        "RootDirectory": unit_text.whole(f"{release['path']}/rootfs"),
        "MountAPIVFS": "yes",
        "BindReadOnlyPaths": shown,
    }


def _bind(source: str, target: str) -> str:
    return f"{unit_text.path(source)}:{unit_text.path(target)}"


def environment(instance: str, chroot: bool) -> dict[str, tuple[str, str]]:
    """Return the variables of an instance with GPUs, each with its reason."""
    found = {
        "CUDA_CACHE_PATH": (
            f"{CACHE}/{instance}",
            "code that the driver compiles at first use is kept, and a restart does not compile it again",
        )
    }
    if chroot:
        reason = "the host's driver libraries first, then those of the image as upstream's recipe has them"
        found["LD_LIBRARY_PATH"] = (f"{DRIVER_FOLDER}:{IMAGE_LIBRARIES}", reason)
    return found
