# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host has of the server already, and so what is due: its release, packages and old releases. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import WishError
from ..host.run import Run
from .store import RECORD, Store
from .use import surplus

# Both packages contain the same file and declare no conflict, so the unwanted one has to be removed first.
BUILDS = ("tensorflow-model-server", "tensorflow-model-server-universal")

_LISTING = "${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\\n"
# What may follow the wanted version: a revision, a build's name, a pre-release's mark.
_REVISION = re.compile(r"([-+~]\S*)?")


class Package(NamedTuple):
    """An installed package."""

    version: str
    held: bool


def read(params: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the module's result; raises WishError."""
    released = os.path.exists(os.path.join(params["release"], RECORD))
    packaged = params["method"] == "apt"
    names = [*params["tools"], *(BUILDS if packaged else ())]
    packages = _packages(names, run) if names else {}
    return {
        "release_due": not released,
        "prune_due": not released or _prune_due(Store(params["root"]), params["keep"], params["in_use"]),
        "missing_tools": [name for name in params["tools"] if name not in packages],
        "package": package_state(packages, params["package"], params["version"], packaged and not released),
    }


def package_state(
    packages: Mapping[str, Package], name: str, version: str, needed: bool
) -> dict[str, bool | list[str]]:
    """Return what is due of the server's package ``name``; ``needed`` where a release is to be made from it."""
    found = packages.get(name)
    return {
        "due": needed and not (found and of_version(found.version, version)),
        "installed": found is not None,
        "held": found is not None and found.held,
        "rivals": [build for build in BUILDS if build != name and build in packages],
    }


def of_version(installed: str, wanted: str) -> bool:
    """Tell whether a package's version is the wanted one, in whatever revision."""
    return installed.startswith(wanted) and bool(_REVISION.fullmatch(installed.removeprefix(wanted)))


def listed(text: str) -> dict[str, Package]:
    """Return the installed packages of a listing by dpkg-query."""
    lines = [line.split(" ") for line in text.splitlines()]
    return {line[0]: Package(line[1], line[2] == "hold") for line in lines if len(line) == 4 and line[3] == "installed"}


def _packages(names: Iterable[str], run: Run) -> dict[str, Package]:
    status, out, err = run(["dpkg-query", "--show", "--showformat", _LISTING, *names])
    # 1: one of them was never heard of.
    if status not in (0, 1):
        raise WishError("dpkg-query", f"cannot list packages ({err.strip()})", "check dpkg's database on this host")
    return listed(out)


def _prune_due(store: Store, keep: int, in_use: Iterable[str]) -> bool:
    return bool(surplus(store.releases(), keep, in_use) or store.leftovers())
