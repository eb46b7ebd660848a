# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The meta package that a kernel comes from: ``generic-hwe-22.04`` of linux-image-generic-hwe-22.04.

A kernel's own name is not enough. Ubuntu 22.04's 5.15 and 6.8 are both ``-generic``, and clouds have a meta package for
the release's kernel next to the rolling one. The installed packages decide: a meta package depends on a kernel.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..host.run import Run

# "6.8.0-87-generic", "6.1.0-40-cloud-amd64", "6.12.48+deb13-amd64", "5.15.0-1090-azure-fde"
_RELEASE = re.compile(r"(?P<base>\d+(?:\.\d+)+)(?:-\d+|\+deb\d+|\+bpo\d*)*-(?P<flavour>[a-z].*)")
_META = re.compile(r"linux-(?:image|headers)-(?P<suffix>(?!unsigned-|uc-)[a-z].*)")
_FOLLOWED = re.compile(r"linux-(?:image|headers)-(\d[^\s,|(]*)")
_LISTING = "${Package}\t${db:Status-Status}\t${Depends}\n"


class Meta(NamedTuple):
    """A meta package's name without its prefix, and the release of the kernel that it depends on."""

    suffix: str
    kernel: str


def flavour(release: str) -> str:
    """Return a kernel's flavour (``6.1.0-40-cloud-amd64``: ``cloud-amd64``), empty for a custom kernel."""
    match = _RELEASE.fullmatch(release)
    return match["flavour"] if match else ""


def base(release: str) -> tuple[int, ...]:
    """Return the numbers of the upstream kernel of a release (``6.8.0-87-generic``: 6, 8, 0)."""
    match = re.match(r"\d+(?:\.\d+)+", release)
    return tuple(map(int, match[0].split("."))) if match else ()


def installed(run: Run) -> list[Meta]:
    """Return the installed meta packages of kernels and headers, images first."""
    found = []
    for pattern in ("linux-image-*", "linux-headers-*"):
        _status, out, _err = run(["dpkg-query", "--show", "--showformat", _LISTING, pattern])
        for name, status, depends in (row for row in (line.split("\t") for line in out.splitlines()) if len(row) == 3):
            meta, followed = _META.fullmatch(name), _FOLLOWED.search(depends)
            if meta and followed and status == "installed":
                found.append(Meta(meta["suffix"], followed[1]))
    return found


def follows(release: str, metas: list[Meta]) -> str:
    """Return the meta package that installed a kernel and will install the next one; empty if there is none.

    It may already be a kernel ahead. Of several of one flavour, the nearest that is not behind counts.
    """
    same = [meta for meta in metas if flavour(meta.kernel) == flavour(release) != ""]
    exact = [meta for meta in same if meta.kernel == release]
    level = [meta for meta in same if base(meta.kernel) == base(release)]
    ahead = sorted((meta for meta in same if base(meta.kernel) > base(release)), key=lambda meta: base(meta.kernel))
    chosen = exact or level or ahead or same
    return chosen[0].suffix if chosen else ""
