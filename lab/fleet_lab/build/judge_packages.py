# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Virtual environments: the ecosystem's tools, servers of models, and ansible-cores that need a newer Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fleet_lab.build import hashing
from fleet_lab.build.python_packages import PIP_INSTALL, STAMP
from fleet_lab.config import Lab
from fleet_lab.shell import answer, quietly

# The Pythons that a release of ansible-core runs on; the first one is taken if it is there, so that both are tried.
CORES = {"2.20": ("3.12", "3.13", "3.14"), "2.21": ("3.13", "3.12", "3.14")}

SAY_VERSION = "import sys, venv; print('%d.%d' % sys.version_info[:2])"

# What hosts may have; ansible-test compiles and imports with each that is there.
HOST_PYTHONS = tuple(f"3.{minor}" for minor in range(9, 15))


def judges(lab: Lab) -> str:
    """Install the pins of requirements/judges.txt: the tools that Galaxy, the docs site and AWX run."""
    return _environment(lab, "judges", lab.python)


def model_servers(lab: Lab) -> str:
    """Install the pins of requirements/sources.txt: MLflow's server and moto's S3, for the tests of sources."""
    return _environment(lab, "sources", lab.python)


def cores(lab: Lab) -> str:
    """Install each newer ansible-core for which there is a Python here, and report the others."""
    found = pythons()
    notes = []
    for core, wanted in CORES.items():
        python = first(found, wanted)
        if python is None:
            notes.append(f"no {core}, which wants Python {' or '.join(sorted(wanted))}")
        else:
            notes.append(f"{core} {_environment(lab, f'core-{core}', python)}")
    return "; ".join(notes)


def installed_cores(lab: Lab) -> list[str]:
    """Return the newer ansible-cores that `cores` has installed."""
    return [core for core in CORES if (folder(lab, f"core-{core}") / STAMP).is_file()]


def folder(lab: Lab, name: str) -> Path:
    return lab.judged / "venv" / name


def pythons(environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Return this machine's working Pythons, by version, from PATH and pyenv."""
    found: dict[str, Path] = {}
    for version, path in _candidates(environment):
        # pyenv has a shim for every version in PATH, and most of them only say which version to switch to.
        if version not in found and answer([path, "-c", SAY_VERSION]) == version:
            found[version] = path
    return found


def first(found: Mapping[str, Path], wanted: Iterable[str]) -> Path | None:
    return next((found[version] for version in wanted if version in found), None)


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    home = Path(environment.get("PYENV_ROOT") or Path(environment.get("HOME", "/root")) / ".pyenv")
    for version in HOST_PYTHONS:
        for path in sorted(home.glob(f"versions/{version}.*/bin/python{version}"), reverse=True):
            yield version, path
        program = shutil.which(f"python{version}", path=environment.get("PATH"))
        if program:
            yield version, Path(program)


def _environment(lab: Lab, name: str, python: Path) -> str:
    """Make a virtual environment with exactly the pins of requirements/NAME.txt."""
    place, lock = folder(lab, name), lab.root / "requirements" / f"{name}.txt"
    key = hashing.key_of(lock.read_text(), str(python.resolve()), str(place))
    if hashing.stamped(place / STAMP, key) and answer([place / "bin" / "python", "-c", ""]) is not None:
        return "reused"
    log = lab.logs / f"{name}.log"
    quietly([python, "-m", "venv", "--clear", place], log)
    quietly([place / "bin" / "python", *PIP_INSTALL, "-r", lock], log)
    (place / STAMP).write_text(f"{key}\n")
    return f"installed from requirements/{name}.txt"
