# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The boot parameters of the running kernel, and those that GRUB will pass to the next one."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from ..host.sysfs import Tree

UPDATE_GRUB = "usr/sbin/update-grub"
GRUB_CONFIG = "boot/grub/grub.cfg"
# The file in which the role adds parameters.
ADDED = "etc/default/grub.d/90-tfserving-fleet.cfg"


def judge(tree: Tree, wanted: Collection[str], reboot_ok: bool = False, is_controller: bool = False) -> dict[str, Any]:
    """Return the result of ``read`` and what follows from it.

    :param reboot_ok: the user allows the host to be rebooted, and so its command line to be changed.
    :param is_controller: the host is the machine that Ansible runs on, which a play must not reboot.
    :returns: ``file``, the wanted state of the role's own file (``present``, ``absent``, or empty to leave it);
        ``may_reboot``; ``reason``, why somebody else has to reboot the host, if so; ``refusal``, the message if a boot
        did not bring the parameters, empty if all are in force.
    """
    found = read(tree, wanted)
    may_add = reboot_ok and found["grub"]
    added = "present" if wanted and may_add else "absent" if not wanted and tree.exists(ADDED) else ""
    return {
        **found,
        "file": added,
        "may_reboot": may_add and not is_controller,
        "reason": _reason(" ".join(found["missing"]), found["grub"], reboot_ok),
        "refusal": _refusal(" ".join(found["missing"])),
    }


def _reason(missing: str, grub: bool, reboot_ok: bool) -> str:
    if not missing:
        return "the running kernel still has parameters that cpu_partition_boot no longer asks for; reboot the host"
    if not grub:
        remedy = "add it in the boot loader of this host, which has no update-grub, and reboot it"
    elif not reboot_ok:
        remedy = "set cpu_partition_reboot_ok to have it added and the host rebooted"
    else:
        remedy = "it is added; reboot the host by hand, since Ansible runs on it"
    return f"cpu_partition_boot asks for {missing}, which the running kernel was not booted with; {remedy}"


def _refusal(missing: str) -> str:
    if not missing:
        return ""
    return (
        "cpu_partition_boot: the host has booted with GRUB's configuration asking for it, and its kernel lacks"
        f" {missing}; find out what its boot loader reads, or leave it out"
    )


def read(tree: Tree, wanted: Collection[str]) -> dict[str, Any]:
    """Compare parameters with the kernel's command line.

    :returns: ``missing``, those that the running kernel was not booted with; ``in_vain``, those of them that GRUB's
        configuration already had before this boot, so that another boot would not bring them either; ``grub``, whether
        anything takes parameters from ``/etc/default/grub.d``.
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
