#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stand in for the programs that act on a kernel or a GPU that is not there: kernel_tools.py PROGRAM ARGUMENTS.

The programs are modprobe, modinfo, dmesg, dkms, update-initramfs and nvidia-mig-parted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import machine

MODULES = Path("/lib/modules")
STORE = Path("/var/lib/dkms")


def modprobe(host: dict, arguments: list[str]) -> int:
    """Load and unload nvidia and nouveau; a module that has not been built cannot be loaded."""
    names = [argument.replace("-", "_") for argument in arguments if not argument.startswith("-")]
    if "--remove" in arguments or "-r" in arguments:
        return _unload(host, names)
    if any(name.startswith("nvidia") for name in names):
        return _load(host)
    return 0


def _unload(host: dict, names: list[str]) -> int:
    loaded = host["loaded"]
    if loaded is None or (loaded == "nouveau") != ("nouveau" in names):
        return 0
    if host["in_use"]:
        return _say(f"modprobe: FATAL: Module {names[-1]} is in use.", 1)
    host["loaded"] = None
    machine.write(host)
    return 0


def _load(host: dict) -> int:
    if host["loaded"] == "nouveau":
        return _say("modprobe: ERROR: could not insert 'nvidia': No such device", 1)
    if host["loaded"] is not None:
        return 0
    module = machine.built(host)
    if not module:
        return _say(f"modprobe: FATAL: Module nvidia not found in directory {MODULES}/{host['kernel']}", 1)
    host["loaded"] = module["version"]
    host["loaded_flavour"] = machine.flavour(module)
    machine.write(host)
    return 0


def modinfo(host: dict, arguments: list[str]) -> int:
    """Tell of a simulated module; real ones are left to the real program."""
    try:
        module = json.loads(Path(arguments[-1]).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        os.execv("/usr/sbin/modinfo", ["modinfo", *arguments])
    print(f"filename:       {arguments[-1]}")
    for key in ("version", "license", "vermagic"):
        print(f"{key + ':':<15} {module[key]}")
    return 0


def dmesg(host: dict, arguments: list[str]) -> int:
    """Print the log of an uneventful life. A container's journal has no messages of the kernel."""
    print(f"[    0.000000] Linux version {host['kernel']} (simulated)")
    if host["loaded"] not in (None, "nouveau"):
        print(f"[    5.120000] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {host['loaded']}")
    return 0


def dkms(host: dict, arguments: list[str]) -> int:
    """Build at once what lies in /usr/src, for the one kernel that has headers.

    ``dkms_orphan`` is a module of somebody else's whose source is gone: asked for no module in particular, dkms ends at
    it with status 0, and works on nothing (dell/dkms#352).
    """
    action = next((argument for argument in arguments if not argument.startswith("-")), "")
    name, version = (_option(arguments, short, long) for short, long in (("-m", "--module"), ("-v", "--version")))
    if name is None:
        pairs = (word.split("/", 1) for word in arguments if re.fullmatch(r"nvidia[^/]*/\d.*", word))
        name, version = next(pairs, (None, None))
    if name is None and host.get("dkms_orphan"):
        return _say("Error! Could not locate dkms.conf file.\nFile:  does not exist.", 0)
    asked = [pair for pair in _sources() if name in (None, pair[0]) and version in (None, pair[1])]
    if action == "status":
        for pair in asked:
            print(_status(host, *pair))
        return 0
    if action in ("add", "autoinstall", "install", "build"):
        for pair in asked:
            (STORE / "/".join(pair)).mkdir(parents=True, exist_ok=True)
    if action in ("autoinstall", "install", "build"):
        return max((_build(host, *pair) for pair in asked), default=0)
    if action == "remove":
        for pair in asked:
            _place(host, pair[0]).unlink(missing_ok=True)
            shutil.rmtree(STORE / pair[0], ignore_errors=True)
    return 0


def _option(arguments: list[str], short: str, long: str) -> str | None:
    return next((value for key, value in zip(arguments, arguments[1:]) if key in (short, long)), None)


def _status(host: dict, name: str, version: str) -> str:
    built = _place(host, name).exists() and _version_of(_place(host, name)) == version
    return f"{name}/{version}, {host['kernel']}, x86_64: installed" if built else f"{name}/{version}: added"


def _sources() -> list[tuple[str, str]]:
    """Return the drivers whose sources packages have laid down, each with its version."""
    found = []
    for conf in sorted(Path("/usr/src").glob("nvidia-*/dkms.conf")):
        text = conf.read_text(encoding="utf-8")
        match = re.search(r'^PACKAGE_NAME="?([^"\n]+)"?$', text, re.MULTILINE)
        version = re.search(r'^PACKAGE_VERSION="?([^"\n]+)"?$', text, re.MULTILINE)
        if match and version:
            found.append((match[1], version[1]))
    return found


def _place(host: dict, name: str) -> Path:
    return MODULES / host["kernel"] / "updates/dkms" / f"{name}.ko"


def _version_of(file: Path) -> str:
    return json.loads(file.read_text(encoding="utf-8"))["version"]


def _build(host: dict, name: str, version: str) -> int:
    if not (MODULES / host["kernel"] / "build/Makefile").exists():
        return _say(f"Error! Your kernel headers for kernel {host['kernel']} cannot be found.", 1)
    if host["build"] != "works":
        log = STORE / name / version / "build/make.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("simulated: nv-linux.h: fatal error: this kernel is too new for this driver\n", encoding="utf-8")
        return _say(f"Error! Bad return status for module build on kernel: {host['kernel']} (x86_64)", 10)
    file = _place(host, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Debian's open modules have a name of their own, NVIDIA's say in their sources what they are.
    free = "open" in name or Path(f"/usr/src/nvidia-{version}/nvidia-open").exists()
    licence = "Dual MIT/GPL" if free else "NVIDIA"
    module = {
        "version": version,
        "license": licence,
        "vermagic": f"{host['kernel']} SMP preempt mod_unload modversions",
    }
    file.write_text(json.dumps(module), encoding="utf-8")
    return 0


def update_initramfs(host: dict, arguments: list[str]) -> int:
    """Renew the initramfs's time, and note the call."""
    Path(f"/boot/initrd.img-{host['kernel']}").write_text("simulated\n", encoding="utf-8")
    with open(machine.HOME / "initramfs.log", "a", encoding="utf-8") as log:
        log.write(f"{' '.join(arguments)}\n")
    return 0


def nvidia_mig_parted(host: dict, arguments: list[str]) -> int:
    """Compare the wished geometry with the one that was applied last; apply none while a program has a GPU open."""
    if arguments == ["--version"]:
        print("NVIDIA MIG Partition Editor CLI version 0.12.1")
        return 0
    wished = Path(arguments[arguments.index("--config-file") + 1]).read_text(encoding="utf-8")
    if arguments[0] == "assert":
        return 0 if host.get("mig_geometry") == wished else _say("MIG configuration does not match", 1)
    held = [link for link in Path("/proc").glob("[0-9]*/fd/*") if os.path.realpath(link).startswith("/dev/nvidia")]
    if held:
        return _say("GPU is in use by another client", 1)
    host["mig_geometry"] = wished
    machine.write(host)
    return 0


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


if __name__ == "__main__":
    program = globals()[sys.argv[1].replace("-", "_")]
    sys.exit(program(machine.read(), sys.argv[2:]))
