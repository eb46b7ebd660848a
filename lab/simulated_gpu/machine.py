# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The simulated machine: one JSON file that all simulated programs read, and that those which set things write.

From a shell, machine.py KEY=JSON ... changes it: machine.py in_use=true.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Where the machine is kept. A test may have one of its own.
HOME = Path(os.environ.get("SIMULATED_GPU", "/var/lib/simulated-gpu"))
STATE = HOME / "state.json"
UNINSTALLER = Path("/usr/bin/nvidia-uninstall")

# What a GPU says where its kind and its variant say nothing.
ORDINARY = {
    "ecc.mode.current": "Enabled",
    "ecc.mode.pending": "Enabled",
    "ecc.errors.corrected.volatile.total": "0",
    "ecc.errors.uncorrected.volatile.total": "0",
    "retired_pages.single_bit_ecc.count": "[N/A]",
    "retired_pages.double_bit.count": "[N/A]",
    "retired_pages.pending": "[N/A]",
    "mig.mode.current": "Disabled",
    "mig.mode.pending": "Disabled",
    "persistence_mode": "Enabled",
    "compute_mode": "Default",
    "temperature.gpu": "34",
    "clocks_event_reasons.active": "0x0000000000000001",
    "remapped_rows.correctable": "0",
    "remapped_rows.uncorrectable": "0",
    "remapped_rows.pending": "No",
    "remapped_rows.failure": "No",
    "gpu_recovery_action": "None",
}


def variants() -> dict:
    """Return the kinds of GPUs and the variants of machines."""
    return json.loads((HERE / "variants.json").read_text(encoding="utf-8"))


def build(name: str) -> dict:
    """Return a fresh machine of a variant."""
    known = variants()
    variant = known["variants"][name]
    gpus = []
    for index, entry in enumerate(variant["gpus"]):
        kind = known["kinds"][entry["kind"]]
        bus = f"{0x18 + 0x18 * index:02x}"
        gpus.append(
            {
                **ORDINARY,
                **kind,
                **{key: value for key, value in entry.items() if key != "kind"},
                "index": index,
                # The same machine has the same UUIDs in every run.
                "uuid": f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{name}-{index}')}",
                "address": f"0000:{bus}:00.0",
            }
        )
    return {
        "variant": name,
        "kernel": variant.get("kernel", "6.1.0-0-simulated"),
        "gpus": gpus,
        "nvswitches": variant.get("nvswitches", 0),
        "loaded": variant.get("loaded", "nouveau"),
        "library": variant.get("library"),
        "in_use": variant.get("in_use", False),
        "boots_with": None,
        "installer": False,
        "build": variant.get("build", "works"),
        "secure_boot": variant.get("secure_boot", "absent"),
    }


def read() -> dict:
    """Return the machine."""
    return json.loads(STATE.read_text(encoding="utf-8"))


def write(machine: dict) -> None:
    """Keep the machine, and show it in the simulated /sys and /proc."""
    HOME.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps(machine, indent=1), encoding="utf-8")
    show(machine)


def library_version(machine: dict) -> str | None:
    """Return the version of the NVML library: the machine's own, or the one that a real package has installed."""
    if machine["library"]:
        return machine["library"]
    for folder in Path("/usr/lib").glob("*-linux-gnu"):
        match = re.search(r"\.so\.(\d{3}\.[\d.]+)$", str((folder / "libnvidia-ml.so.1").resolve()))
        if match:
            return match[1]
    return None


def version_text(machine: dict, library: str) -> list[str]:
    """Return what nvidia-smi prints of its versions; from branch 610 on the CUDA version stands under another name."""
    branch = int(library.split(".")[0])
    cuda = ["CUDA version        : Deprecated, see CUDA UMD version", "CUDA UMD version    : 13.3"]
    lines = [
        f"NVIDIA-SMI version  : {library}",
        f"NVML version        : {'.'.join(library.split('.')[:2])}",
        f"DRIVER version      : {library}",
    ]
    return [*lines, *(cuda if branch >= 610 else [f"CUDA Version        : {machine.get('cuda', '13.0')}"])]


def show(machine: dict) -> None:
    """Write what the kernel would show: PCI devices, loaded modules, the driver's version, the firmware's variables."""
    pci = HOME / "sys/bus/pci/devices"
    driver = {"nouveau": "nouveau", None: None}.get(machine["loaded"], "nvidia")
    for gpu in machine["gpus"]:
        _device(pci / gpu["address"], gpu["device_id"], "0x030200", driver)
    for number, card in enumerate(machine.get("beside", [])):
        _device(pci / f"0000:{0x03 + number:02x}:00.0", card["device_id"], "0x030000", card["driver"])
    for number in range(machine["nvswitches"]):
        _device(pci / f"0000:{0xC1 + number:02x}:00.0", "0x22a3", "0x068000", None)
    _modules(HOME / "sys/module", machine["loaded"])
    if machine.get("installer"):
        _installer()
    _version(HOME / "proc/driver/nvidia", machine)


def _installer() -> None:
    """Put NVIDIA's uninstaller where its installer does; called as it should be, it takes itself away."""
    UNINSTALLER.write_text('#!/bin/sh\ntest "$1" = --silent && exec rm "$0"\n', encoding="utf-8")
    UNINSTALLER.chmod(0o755)


def _device(folder: Path, device_id: str, device_class: str, driver: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = {"vendor": "0x10de", "device": device_id, "class": device_class, "numa_node": "-1", "local_cpulist": ""}
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n", encoding="utf-8")
    link = folder / "driver"
    link.unlink(missing_ok=True)
    if driver:
        link.symlink_to(f"../../../bus/pci/drivers/{driver}")


def _modules(folder: Path, loaded: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"nouveau"} if loaded == "nouveau" else {"nvidia", "nvidia_uvm"} if loaded else set()
    for name in ("nouveau", "nvidia", "nvidia_uvm"):
        place = folder / name
        if name in wanted:
            place.mkdir(exist_ok=True)
            (place / "version").write_text(f"{loaded}\n", encoding="utf-8")
        elif place.exists():
            (place / "version").unlink(missing_ok=True)
            place.rmdir()


def _version(folder: Path, machine: dict) -> None:
    file = folder / "version"
    if machine["loaded"] in (None, "nouveau"):
        file.unlink(missing_ok=True)
        if folder.exists():
            folder.rmdir()
        return
    folder.mkdir(parents=True, exist_ok=True)
    open_modules = machine.get("loaded_flavour") == "open"
    kind = "UNIX Open Kernel Module for x86_64" if open_modules else "UNIX x86_64 Kernel Module"
    line = f"NVRM version: NVIDIA {kind}  {machine['loaded']}  Thu Jan  1 00:00:00 UTC 2026\n"
    file.write_text(f"{line}GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n", encoding="utf-8")


def boot(machine: dict) -> dict:
    """Return the machine as it is after a boot: the modules that are there for its kernel, and GPUs that forgot.

    ``boots_with`` stands for an initramfs with modules of its own: a driver's version.
    """
    module = built(machine)
    gpus = [
        {
            **gpu,
            "power.limit": float(gpu["power.default_limit"]),
            "compute_mode": ORDINARY["compute_mode"],
            "locked.graphics": None,
            "locked.memory": None,
            "ecc.mode.current": gpu["ecc.mode.pending"],
            "mig.mode.current": gpu["mig.mode.pending"],
        }
        for gpu in machine["gpus"]
    ]
    loaded = machine["boots_with"] or (module["version"] if module else "nouveau")
    return {**machine, "gpus": gpus, "in_use": False, "loaded": loaded, "loaded_flavour": flavour(module)}


def built(machine: dict) -> dict | None:
    """Return the module that has been built for the machine's kernel."""
    files = sorted(Path("/lib/modules", machine["kernel"], "updates/dkms").glob("nvidia*.ko"))
    return json.loads(files[0].read_text(encoding="utf-8")) if files else None


def flavour(module: dict | None) -> str | None:
    """Return which of the two drivers a module belongs to."""
    return ("open" if "GPL" in module["license"] else "proprietary") if module else None


if __name__ == "__main__":
    write({**read(), **{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in sys.argv[1:])}})
