# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host shows of its NVIDIA GPUs, their driver and what could replace it. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..host.run import Run
from ..host.sysfs import Tree
from ..nvidia import devices as nvidia_devices
from ..nvidia import edition
from . import dkms as dkms_trees
from . import installed, kernel_meta, secure_boot, state


def read(
    tree: Tree, run: Run, wanted_kernel: str, certificates: list[str], ignored: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the driver's state, as the module nvidia_driver_state returns it."""
    kernel = state.kernel(tree, wanted_kernel)
    kernel["meta"] = kernel_meta.follows(kernel["wanted"], kernel_meta.installed(run))
    sources = dkms_trees.sources(tree)
    dkms, packages = dkms_trees.status(run, dkms_trees.names(tree), sources), installed.packages(run)
    container, _out, _err = run(["systemd-detect-virt", "--container", "--quiet"])
    devices = nvidia_devices.devices(tree, ignored)
    found = {**devices, "edition": edition.read(tree, devices["gpus"])}
    return {
        **found,
        "passed_over": edition.passed_over(found),
        "kernel": kernel,
        "loaded": state.loaded(tree),
        "library_version": state.library_version(tree),
        "built": installed.built_modules(tree, kernel["wanted"], run),
        "dkms": dkms["rows"],
        "dkms_words": dkms["words"],
        "dkms_sources": sources,
        "packages": packages,
        "installer": installed.installer(tree, kernel["wanted"], dkms["rows"], packages["installed"], container == 0),
        "components": state.components(run),
        "secure_boot": secure_boot.read(tree, certificates),
        "users": state.users(tree),
        "container": container == 0,
    }
