#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for nvidia-smi: the questions that this collection asks, with the forms and exit codes of the real one."""

from __future__ import annotations

import sys

import machine

# https://docs.nvidia.com/deploy/nvidia-smi/, "Return Value".
OK, BAD_ARGUMENT, NO_PERMISSION, NO_DRIVER, NO_LIBRARY, FAILED = 0, 2, 4, 9, 12, 255
MISMATCH = 18

UNREACHABLE = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver"
    " is installed and running."
)
SETTINGS = {
    "--power-limit": "power.limit",
    "--lock-gpu-clocks": "locked.graphics",
    "--lock-memory-clocks": "locked.memory",
    "--reset-gpu-clocks": "locked.graphics",
    "--reset-memory-clocks": "locked.memory",
    "--ecc-config": "ecc.mode.pending",
    "--compute-mode": "compute_mode",
}
# The drivers before 535 know the older name only, those since know both.
EVENT, THROTTLE = "clocks_event_reasons.active", "clocks_throttle_reasons.active"


class Refusal(Exception):  # noqa: N818 (it is what the program says)
    """What the program says before it ends, and its exit code."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: list[str]) -> int:
    """Answer as the real program does."""
    host = machine.read()
    try:
        library = _library(host)
        options = dict(argument.partition("=")[::2] for argument in arguments)
        print("\n".join(_answer(host, options, library)))
    except Refusal as refusal:
        print(refusal)
        return refusal.status
    return OK


def _library(host: dict) -> str:
    library = machine.library_version(host)
    if library is None:
        raise Refusal("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", NO_LIBRARY)
    if host["loaded"] in (None, "nouveau"):
        raise Refusal(UNREACHABLE, NO_DRIVER)
    if host["loaded"] != library:
        short = ".".join(library.split(".")[:2])
        raise Refusal(
            f"Failed to initialize NVML: Driver/library version mismatch\nNVML library version: {short}", MISMATCH
        )
    return library


def _answer(host: dict, options: dict[str, str], library: str) -> list[str]:
    if "--version" in options:
        return [f"NVIDIA-SMI version  : {library}", f"DRIVER version      : {library}", "CUDA Version        : 13.0"]
    gpus = _chosen(host, options.get("--id"))
    for option, value in options.items():
        if option in SETTINGS:
            return _set(host, gpus, option, value)
    if "-L" in options:
        return [line for gpu in gpus for line in _listed(gpu)]
    for option, fields in options.items():
        if option == "--query-gpu":
            return [_row(gpu, fields, library) for gpu in gpus]
        if option == "--query-remapped-rows":
            return [_row({**gpu, "gpu_uuid": gpu["uuid"]}, fields, library) for gpu in gpus]
        if option == "--query-supported-clocks":
            return [line for gpu in gpus for line in _clocks(gpu, fields)]
    raise Refusal(
        f"Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n{options}", BAD_ARGUMENT
    )


def _chosen(host: dict, wanted: str | None) -> list[dict]:
    if wanted is None:
        return host["gpus"]
    found = [gpu for gpu in host["gpus"] if wanted in (str(gpu["index"]), gpu["uuid"])]
    if not found:
        raise Refusal("No devices were found", 6)
    return found


def _row(gpu: dict, fields: str, library: str) -> str:
    return ", ".join(_value(gpu, field, library) for field in fields.split(","))


def _value(gpu: dict, field: str, library: str) -> str:
    if field == "pci.bus_id":
        return f"0000{gpu['address']}".upper()
    if field == "driver_version":
        return library
    if field == THROTTLE:
        field = EVENT
    elif field == EVENT and int(library.split(".")[0]) < 535:
        raise Refusal(f'Field "{field}" is not a valid field to query.\n', BAD_ARGUMENT)
    if field not in gpu:
        raise Refusal(f'Field "{field}" is not a valid field to query.\n', BAD_ARGUMENT)
    value = gpu[field]
    return f"{value:.2f}" if field.startswith("power.") and isinstance(value, (int, float)) else str(value)


def _listed(gpu: dict) -> list[str]:
    lines = [f"GPU {gpu['index']}: {gpu['name']} (UUID: {gpu['uuid']})"]
    for number, profile in enumerate(gpu.get("mig", [])):
        lines.append(f"  MIG {profile:<12}Device {number:>2}: (UUID: MIG-{gpu['uuid'][4:-1]}{number})")
    return lines


def _clocks(gpu: dict, fields: str) -> list[str]:
    """Every pair of clocks, from high to low; in real ones the steps of the graphics clock are 15 MHz apart as well."""
    low, high = gpu["clocks"]["graphics"]
    rows = [
        {"memory": memory, "graphics": clock}
        for memory in gpu["clocks"]["memory"]
        for clock in range(high, low - 1, -15)
    ]
    return [", ".join(str(row[field]) for field in fields.split(",")) for row in rows]


def _set(host: dict, gpus: list[dict], option: str, value: str) -> list[str]:
    for gpu in gpus:
        if option == "--power-limit":
            _set_power(gpu, float(value))
        elif option == "--ecc-config":
            gpu["ecc.mode.pending"] = "Enabled" if value == "1" else "Disabled"
        elif option == "--compute-mode":
            gpu["compute_mode"] = value.title()
        else:
            gpu[SETTINGS[option]] = value or None
    machine.write(host)
    return ["All done."]


def _set_power(gpu: dict, watts: float) -> None:
    low, high = gpu["power.min_limit"], gpu["power.max_limit"]
    if not low <= watts <= high:
        raise Refusal(
            f"Provided power limit {watts:.2f} W is not a valid power limit which should be between {low:.2f} W and"
            f" {high:.2f} W for GPU {_value(gpu, 'pci.bus_id', '')}\nTerminating early due to previous errors.",
            FAILED,
        )
    gpu["power.limit"] = watts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
