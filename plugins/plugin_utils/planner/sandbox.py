# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lines of an instance's unit that let it see its release, its files and its GPUs, and nothing else of the host."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.driver.files import Library
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import Release
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Gpu

from ..server import unit_text
from .schema import InstancePlan, Paths

# What CUDA opens beside the GPUs themselves. nvidia-modeset is for displays.
CONTROL_DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
# The capabilities of MIG slices; which minor belongs to which slice is for the driver to check.
SLICE_DEVICES = "char-nvidia-caps"

# Where the driver's libraries are in a release's own root: on the empty /run that systemd mounts there, so that the
# release itself stays as it was unpacked.
DRIVER_FOLDER = "/run/nvidia-driver"
# As the recipe of upstream's GPU image sets it (tools/docker/Dockerfile.gpu), after the driver's own.
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
    """Return directives as ``{directive: value}``; a list of values stands for as many lines.

    :param preloaded: what ``LD_PRELOAD`` names: files that the unit has to show.
    :param gpus: entries of the topology for the instance's GPUs.
    :param libraries: ``driver_libraries`` of the topology.
    """
    root = _root(instance, preloaded, release, libraries, paths) if release["chroot"] else {}
    return {**_devices(instance, gpus), **root}


def _devices(instance: InstancePlan, gpus: Sequence[Gpu]) -> dict[str, str | list[str]]:
    # PrivateDevices= would hide GPUs; where there are none to use, it is the shorter and stricter line.
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
