# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's driver in dkms, queried module by module. Nothing here changes anything.

`dkms status` without a name stops at the first foreign module whose source is gone, with status 0, and omits everything
after it (dell/dkms#352, seen with 2.8.4 and 3.0.10).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.run import Run
from ..host.sysfs import Tree
from ..visible_text import told

STORE = "var/lib/dkms"
# PACKAGE_NAME in each packaging's dkms.conf: NVIDIA's own and Canonical's desktop series, Canonical's server series,
# Debian's main and its -tesla and -legacy sources. nvidia-fs and nvidia-peermem-dkms belong to others.
NAMES = (
    "nvidia",
    "nvidia-open",
    "nvidia-srv",
    "nvidia-srv-open",
    "nvidia-current",
    "nvidia-current-open",
    "nvidia-tesla",
    "nvidia-tesla-470",
    "nvidia-tesla-535",
)
_OURS = re.compile(r"nvidia(-srv|-current|-tesla(-\d{3})?|-legacy-\d{3}xx)?(-open)?")

# dkms 2 writes "nvidia-current, 535.261.03, 6.1.0-40-amd64, x86_64: installed", dkms 3 a slash for the first comma. The
# state may be followed by a remark: "(WARNING! Diff between built and installed module!)".
_ROW = re.compile(r"(?P<name>nvidia[^,/]*)[,/]\s*(?P<version>[^,]+),\s*(?P<kernel>[^,]+),\s*[^:]+:\s*(?P<status>\w+)")
_COMPLAINT = re.compile(r"error!|broken|missing|does not exist|could not", re.IGNORECASE)
_LONGEST = 200


def names(tree: Tree) -> list[str]:
    """Return the driver's names in this host's dkms; those of all packagings if its store is elsewhere."""
    return [name for name in tree.names(STORE) if _OURS.fullmatch(name)] if tree.exists(STORE) else list(NAMES)


def sources(tree: Tree) -> list[dict[str, str]]:
    """Return the driver sources that dkms could build, each ``name`` with its ``version``."""
    return [
        {"name": name, "version": version}
        for name in names(tree)
        for version in tree.names(f"{STORE}/{name}")
        if re.match(r"\d{3}\.", version)
    ]


def status(run: Run, asked: Sequence[str] = NAMES, known: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """Return the driver's builds in dkms as ``rows``, and its complaints as ``words``.

    An older version of the driver whose source is gone also stops dkms early. After a complaint it is therefore queried
    again for each version in its store, ``known`` as `sources` returns it.
    """
    rows: list[dict[str, str]] = []
    words: list[str] = []
    for name in asked:
        code, lines = _ask(run, "-m", name)
        if code == 127:  # no dkms on this host
            break
        if _complaints(lines):
            versions = [source["version"] for source in known if source["name"] == name]
            lines += [line for version in versions for line in _ask(run, "-m", name, "-v", version)[1]]
        matches = [match.groupdict() for match in map(_ROW.match, lines) if match and _OURS.fullmatch(match["name"])]
        rows += [row for row in matches if row not in rows]
        words += _complaints(lines)
    return {"rows": rows, "words": told(" ".join(dict.fromkeys(words)), _LONGEST)}


def _ask(run: Run, *which: str) -> tuple[int, list[str]]:
    code, out, err = run(["dkms", "status", *which])
    return code, [*out.splitlines(), *err.splitlines()]


def _complaints(lines: Sequence[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines if _COMPLAINT.search(line) and not _built(line)]


def _built(line: str) -> bool:
    match = _ROW.match(line)
    return match is not None and match["status"] != "broken"
