#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stand in for nvidia-smi: the questions that this collection asks, with the forms and exit codes of the real one.

What it knows depends on the branch of its library, as branches.json has it. A machine whose state has ``says`` answers
as a damaged one: ``before`` and ``after`` are lines around the rows, ``errors`` go to standard error, ``answer`` takes
the place of every answer, and ``code`` is how it ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import machine

# https://docs.nvidia.com/deploy/nvidia-smi/, "Return Value".
OK, BAD_ARGUMENT, NO_PERMISSION, NOT_FOUND, NO_DRIVER, NO_LIBRARY, FAILED = 0, 2, 4, 6, 9, 12, 255
MISMATCH = 18

UNREACHABLE = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
    " driver is installed and running.\n"
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
BRANCHES = json.loads(Path(__file__).resolve().with_name("branches.json").read_text(encoding="utf-8"))


class Refusal(Exception):  # noqa: N818 (it is what the program says)
    """What the program says before it ends, and its exit code."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def main(arguments: list[str]) -> int:
    """Answer as the real program does."""
    host = machine.read()
    says = host.get("says", {})
    code, answer = respond(host, arguments)
    print("\n".join(says.get("errors", [])), end="", file=sys.stderr)
    print(answer, end="")
    return code


def respond(host: dict, arguments: list[str]) -> tuple[int, str]:
    """Return the exit code and what is printed."""
    says = host.get("says", {})
    if "answer" in says:
        return says["code"], says["answer"]
    try:
        library = _library(host)
        options = dict(argument.partition("=")[::2] for argument in arguments)
        lines = _answer(host, options, library)
    except Refusal as refusal:
        return refusal.status, f"{refusal}\n"
    lines = [*says.get("before", []), *lines, *says.get("after", [])]
    return says.get("code", OK), "".join(f"{line}\n" for line in lines)


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


def _knows(kind: str, name: str, library: str) -> bool:
    return int(library.split(".")[0]) >= BRANCHES[kind].get(name, 0)


def _answer(host: dict, options: dict[str, str], library: str) -> list[str]:
    _check(options, library)
    if "--version" in options:
        return machine.version_text(host, library)
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
    raise Refusal("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", BAD_ARGUMENT)


def _check(options: dict[str, str], library: str) -> None:
    """Refuse an option that this branch does not know, as the real program does."""
    for option, value in options.items():
        if not _knows("options", option, library):
            asked = f"{option}={value}" if value else option
            raise Refusal(f"ERROR: Option {asked} is not recognized. Please run 'nvidia-smi -h'.\n", FAILED)


def _chosen(host: dict, wanted: str | None) -> list[dict]:
    found = [gpu for gpu in host["gpus"] if wanted in (None, str(gpu["index"]), gpu["uuid"])]
    if not found:
        raise Refusal("No devices were found", NOT_FOUND)
    return found


def _row(gpu: dict, fields: str, library: str) -> str:
    row = ", ".join(_value(gpu, field, library) for field in fields.split(","))
    return row[: gpu.get("cut_short")]


def _value(gpu: dict, field: str, library: str) -> str:
    named = next((new for new, old in BRANCHES["renamed"].items() if old == field), field)
    if named == "pci.bus_id":
        return gpu.get("pci.bus_id", f"0000{gpu['address']}".upper())
    if named == "driver_version":
        return library
    if named not in gpu or (named == field and not _knows("fields", field, library)):
        raise Refusal(f'Field "{field}" is not a valid field to query.\n', BAD_ARGUMENT)
    value = gpu[named]
    return f"{value:.2f}" if named.startswith("power.") and isinstance(value, (int, float)) else str(value)


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
    if host.get("refuses") == option:
        raise Refusal("Setting was not changed: Unknown Error", FAILED)
    if host.get("lacks") == option:
        # As Pascal answers to --lock-gpu-clocks, and laptops to --power-limit.
        return ["This setting is not supported for this GPU.", "Treating as warning and moving on.", "All done."]
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
