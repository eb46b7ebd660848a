# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The two sets of Python packages: the tools (.venv) and the TensorFlow runtime that all lab hosts share."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet_lab.build import debian, hashing
from fleet_lab.config import PYTHON_VERSION, Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly

STAMP = ".fleet-stamp"
# What Debian's C library offers, by the names that wheels give it (PEP 600 and its forerunners).
GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux2010")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)
PIP_INSTALL = ["-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]


def venv(lab: Lab) -> str:
    """Make .venv with exactly the pins of requirements/dev.txt."""
    lock = lab.root / "requirements" / "dev.txt"
    stamp, key = lab.venv / STAMP, _lock_key(lock)
    works = answer([lab.python, "-c", "import pip"]) is not None
    if works and hashing.stamped(stamp, f"{key} {lab.venv}"):
        return "reused"
    log = lab.logs / "venv.log"
    adopted = works and not missing(lock, _site_packages(lab))
    if not adopted:
        if not works:
            python = _interpreter()
            _need_ensurepip(python, log)
            quietly([python, "-m", "venv", "--clear", lab.venv], log)
        quietly([lab.python, *PIP_INSTALL, "-r", lock], log)
    # The path belongs to the stamp: the scripts of a virtual environment that was moved no longer start.
    stamp.write_text(f"{key} {lab.venv}\n")
    return "found complete" if adopted else "installed from requirements/dev.txt"


def runtime(lab: Lab) -> str:
    """Unpack TensorFlow (requirements/lab.txt) into the cache, once for each Python that runs it.

    Dependencies are ignored: the serving API's package asks for TensorFlow's GPU build, but the lock has the CPU build.
    """
    done = _unpack(lab, "lab", lab.runtime)
    if lab.host_runtime == lab.runtime:
        return done
    return f"{done}; for {lab.suite}: {host_runtime(lab)}"


def host_runtime(lab: Lab) -> str:
    """Unpack the TensorFlow that the lab's hosts mount, which may be for another Python than this machine's."""
    foreign = lab.host_python != PYTHON_VERSION
    return _unpack(lab, "lab", lab.host_runtime, foreign_options(lab.host_python) if foreign else [])


def foreign_options(python: tuple[int, int]) -> list[str]:
    """Return pip's options for the wheels of another Python than its own; the lock has their hashes too.

    Every tag is named, since pip does not fall back from a newer glibc to older ones by itself.
    """
    version = "{}{}".format(*python)
    machine = platform.machine()
    tags = [f"{glibc}_{machine}" for glibc in GLIBC]
    return [
        f"--python-version={version}",
        "--implementation=cp",
        *(f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")),
        *(f"--platform={tag}" for tag in (*tags, "any")),
    ]


def floor(lab: Lab) -> str:
    """Unpack the oldest ansible-core that the collection promises to run with."""
    return _unpack(lab, "floor", lab.floor)


def _unpack(lab: Lab, name: str, folder: Path, options: Sequence[str] = ()) -> str:
    lock = lab.root / "requirements" / f"{name}.txt"
    stamp, key = folder / STAMP, _lock_key(lock)
    if hashing.stamped(stamp, key):
        return "reused"
    adopted = folder.is_dir() and not missing(lock, folder)
    if not adopted:
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        log = lab.logs / f"{folder.name}.log"
        quietly([lab.python, *PIP_INSTALL, *options, "--no-deps", "--target", unfinished, "-r", lock], log)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    stamp.write_text(f"{key}\n")
    return "found complete" if adopted else f"installed from requirements/{name}.txt"


def missing(lock: Path, site: Path) -> list[str]:
    """Return the pins of a lock file, as name==version, that are missing in a site-packages folder."""
    present = {_distribution(*info.name.removesuffix(".dist-info").rsplit("-", 1)) for info in site.glob("*.dist-info")}
    pins = [_distribution(match["name"], match["version"]) for match in PINNED.finditer(lock.read_text())]
    return sorted(set(pins) - present)


def _distribution(name: str, version: str) -> str:
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def _lock_key(lock: Path) -> str:
    return hashing.key_of(lock.read_text(), repr(PYTHON_VERSION))


def _site_packages(lab: Lab) -> Path:
    major, minor = PYTHON_VERSION
    return lab.venv / "lib" / f"python{major}.{minor}" / "site-packages"


def _interpreter() -> str:
    name = "python{}.{}".format(*PYTHON_VERSION)
    if sys.version_info[:2] == PYTHON_VERSION:
        return sys.executable
    found = shutil.which(name)
    if found is None:
        raise Stop(
            f"the lab's requirements are locked for Python {name.removeprefix('python')}, and {name} is not in PATH; "
            "install it (Debian 12 has it as python3)"
        )
    return found


def _need_ensurepip(python: str, log: Path) -> None:
    """Install ensurepip, which puts pip into a virtual environment, and which Debian packages separately."""
    here = python == sys.executable
    if importlib.util.find_spec("ensurepip") if here else answer([python, "-c", "import ensurepip"]) is not None:
        return
    debian.install(["python3-venv"], "the virtual environment", log)
