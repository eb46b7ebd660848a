# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the kernel's command line, against the running kernel and GRUB's configuration."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.boot_parameters import read
from machines import write

WANTED = ["isolcpus=managed_irq,2-3", "rcu_nocbs=2-3"]
BOOTED = 1_800_000_000
# Lines as grub-mkconfig writes them.
GRUB = (
    "menuentry 'Debian' {\n\tlinux\t/boot/vmlinuz-6.1 root=/dev/vda ro quiet isolcpus=managed_irq,2-3 rcu_nocbs=2-3\n}"
)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "proc/cmdline", "root=/dev/vda isolcpus=managed_irq,2-3 quiet")
    write(tmp_path, "proc/stat", f"cpu 1 2 3\nbtime {BOOTED}\nprocesses 7")
    return tmp_path


def configured(root, seconds_after_boot: int) -> None:
    write(root, "boot/grub/grub.cfg", GRUB)
    os.utime(root / "boot/grub/grub.cfg", (BOOTED + seconds_after_boot,) * 2)


def test_parameters_are_missed_until_the_kernel_was_booted_with_them(root):
    assert read(Tree(str(root)), WANTED) == {"missing": ["rcu_nocbs=2-3"], "in_vain": [], "grub": False}


def test_a_host_that_can_tell_its_boot_loader_has_update_grub(root):
    write(root, "usr/sbin/update-grub", "#!/bin/sh")
    assert read(Tree(str(root)), [])["grub"] is True


def test_what_grub_has_learnt_since_the_boot_waits_for_the_next_one(root):
    configured(root, seconds_after_boot=60)
    assert read(Tree(str(root)), WANTED)["in_vain"] == []


def test_what_grub_knew_before_the_boot_does_not_come_by_another_one(root):
    configured(root, seconds_after_boot=-60)
    assert read(Tree(str(root)), WANTED)["in_vain"] == ["rcu_nocbs=2-3"]


def test_parameters_that_grub_does_not_know_are_not_in_vain(root):
    configured(root, seconds_after_boot=-60)
    assert read(Tree(str(root)), ["nohz_full=2-3"])["in_vain"] == []
