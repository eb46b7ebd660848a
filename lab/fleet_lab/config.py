# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Paths and names of the lab: the one object that every stage is given."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fleet_lab.errors import Stop

LABEL = "tfserving.fleet.lab"  # on all that the lab makes in the engine; its value says what the thing is
NETWORK = "tfserving-lab"
PACKAGES_HOST = "lab-packages"  # the container that serves packages and models ...
PACKAGES_NAME = "packages.lab"  # ... and its name on the lab's network
HOSTS = ("lab-a", "lab-b")
IMAGE_NAME = "tfserving-lab-host"
SERVER_VERSIONS = ("2.19.1", "2.20.0")  # two, so that upgrade and rollback have somewhere to go
RUNTIME_ON_HOST = "/usr/lib/lab-tensorflow"
PYTHON_VERSION = (3, 11)  # Debian 12's, and the one that the requirements are locked for

SERVERS = ("reference", "upstream")
# The Python of each release of Debian that the lab's hosts may run.
SUITES = {"bookworm": (3, 11), "trixie": (3, 13)}


@dataclass(frozen=True)
class Lab:
    """The lab of one checkout.

    root: the checkout; cache: downloads and built things (FLEET_CACHE); suite: the Debian release of the lab's hosts
    (LAB_SUITE); server: where the hosts' packages come from (LAB_SERVER): "reference" or "upstream"; jobs: how many
    test stages run side by side (LAB_JOBS).
    """

    root: Path
    cache: Path
    suite: str = "bookworm"
    server: str = "reference"
    jobs: int = 1

    @classmethod
    def from_environment(cls, root: Path, environment: Mapping[str, str] = os.environ) -> Lab:
        """Read FLEET_CACHE, LAB_SUITE, LAB_SERVER and LAB_JOBS; raise Stop for an unknown value."""
        cache = Path(environment.get("FLEET_CACHE") or root / ".cache").expanduser().absolute()
        return cls(
            root=root,
            cache=cache,
            suite=_choice(environment, "LAB_SUITE", SUITES),
            server=_choice(environment, "LAB_SERVER", SERVERS),
            jobs=_number(environment, "LAB_JOBS", min(2, os.cpu_count() or 1)),
        )

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def runtime(self) -> Path:
        """TensorFlow for this machine's own Python, for training models and for unit tests."""
        return self.cache / "tensorflow"

    @property
    def host_python(self) -> tuple[int, int]:
        return SUITES[self.suite]

    def other_release(self) -> Lab:
        """Return the same lab with hosts of the other release of Debian."""
        return replace(self, suite=next(suite for suite in SUITES if suite != self.suite))

    @property
    def host_runtime(self) -> Path:
        """TensorFlow for the Python of the lab's hosts, which share it through a read-only mount."""
        same = self.host_python == PYTHON_VERSION
        return self.runtime if same else self.cache / f"tensorflow-{self.suite}"

    @property
    def tools(self) -> Path:
        """Programs that only `make lock` needs."""
        return self.cache / "tools"

    @property
    def floor(self) -> Path:
        """The oldest ansible-core that the collection promises to run with."""
        return self.cache / "ansible-core-floor"

    @property
    def judged(self) -> Path:
        """Working files of the ecosystem's judges: virtual environments, the collection as published."""
        return self.cache / "judges"

    @property
    def bytecode(self) -> Path:
        """What Python compiles in tests and playbooks."""
        return self.cache / "bytecode"

    @property
    def state(self) -> Path:
        """Everything that `clean-lab` removes."""
        return self.cache / "lab"

    @property
    def logs(self) -> Path:
        return self.cache / "logs"

    @property
    def web(self) -> Path:
        """The document root of packages.lab. Its parts are replaced by rename, so the mount is of the parent."""
        return self.state / "www"

    @property
    def repository(self) -> Path:
        return self.web / "apt"

    @property
    def models(self) -> Path:
        return self.web / "models"

    @property
    def bench_models(self) -> Path:
        return self.web / "bench-models"

    @property
    def signing_key(self) -> Path:
        return self.state / "signing-key.asc"

    @property
    def server_facts(self) -> Path:
        """The facts of the repository that the lab's inventory gives its hosts."""
        return self.state / "server.json"


def _choice(environment: Mapping[str, str], variable: str, known: Collection[str]) -> str:
    value = environment.get(variable) or next(iter(known))
    if value not in known:
        raise Stop(f"{variable}={value} is not known; use {' or '.join(known)}")
    return value


def _number(environment: Mapping[str, str], variable: str, default: int) -> int:
    value = environment.get(variable) or str(default)
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise Stop(f"{variable}={value} is not a number of at least 1")
    return int(value)
