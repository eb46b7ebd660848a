# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of installed packages in apt's notation: with the architecture for foreign ones (``libcuda1:i386``)."""

from __future__ import annotations

import os
import re

from .run import Run

# dpkg-query's field for a package's name. It includes the architecture, even the host's own, for every package that can
# be installed for several.
FIELD = "${binary:Package}"
# Debian's and Ubuntu's names of the architectures that have a driver.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture(run: Run) -> str:
    """Return the host's own architecture in dpkg's notation."""
    status, out, _err = run(["dpkg", "--print-architecture"])
    said = out.strip()
    if status == 0 and re.fullmatch(r"[a-z0-9-]+", said):
        return said
    return _ARCHITECTURES.get(os.uname().machine, "")


def plain(name: str, own: str) -> str:
    """Return a name from ``FIELD`` without the host's own architecture, ``own``."""
    return name.removesuffix(f":{own}")


def bare(name: str) -> str:
    """Return a package's name without any architecture."""
    return name.partition(":")[0]


def native(name: str) -> bool:
    """Return whether a package, by its plain name, is of the host's own architecture."""
    return ":" not in name
