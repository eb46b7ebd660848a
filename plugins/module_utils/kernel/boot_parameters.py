# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the running kernel was booted with, and what GRUB will boot the next one with."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from ..host.sysfs import Tree

UPDATE_GRUB = "usr/sbin/update-grub"
GRUB_CONFIG = "boot/grub/grub.cfg"


def read(tree: Tree, wanted: Collection[str]) -> dict[str, Any]:
    """Compare parameters with the kernel's command line.

    :returns: ``missing``, those that the running kernel was not booted with; ``in_vain``, those of them that GRUB's
        configuration had before this boot, so that another boot would not bring them either; ``grub``, whether there
        is anything that takes parameters from ``/etc/default/grub.d``.
    """
    given = (tree.text("proc/cmdline") or "").split()
    missing = [parameter for parameter in wanted if parameter not in given]
    configured = _configured(tree) if _older_than_boot(tree) else set()
    return {
        "missing": missing,
        "in_vain": [parameter for parameter in missing if parameter in configured],
        "grub": tree.exists(UPDATE_GRUB),
    }


def _configured(tree: Tree) -> set[str]:
    lines = (line.split() for line in tree.lines(GRUB_CONFIG))
    return {word for words in lines if words[:1] == ["linux"] for word in words}


def _older_than_boot(tree: Tree) -> bool:
    booted = next((line.split()[1] for line in tree.lines("proc/stat") if line.startswith("btime ")), "0")
    try:
        return os.path.getmtime(tree.path(GRUB_CONFIG)) < int(booted)
    except OSError:
        return False
