# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the kernel's command line, against the running kernel and GRUB's configuration."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.boot_parameters import ADDED, judge, read
from machines import write
from repository import REPOSITORY

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


@pytest.mark.parametrize(
    ("wanted", "reboot_ok", "grub", "is_controller", "file", "may_reboot", "remedy"),
    [
        (WANTED, False, True, False, "", False, "set cpu_partition_reboot_ok to have it added and the host rebooted"),
        (WANTED, True, True, False, "present", True, ""),
        (WANTED, True, True, True, "present", False, "it is added; reboot the host by hand, since Ansible runs on it"),
        (
            WANTED,
            True,
            False,
            False,
            "",
            False,
            "add it in the boot loader of this host, which has no update-grub, and reboot it",
        ),
    ],
    ids=["without leave", "with leave", "on the controller", "without GRUB"],
)
def test_the_command_line_is_changed_with_leave_alone(
    root, wanted, reboot_ok, grub, is_controller, file, may_reboot, remedy
):
    if grub:
        write(root, "usr/sbin/update-grub", "#!/bin/sh")
    found = judge(Tree(str(root)), wanted, reboot_ok, is_controller)
    assert (found["file"], found["may_reboot"]) == (file, may_reboot)
    start = "cpu_partition_boot asks for rcu_nocbs=2-3, which the running kernel was not booted with; "
    assert found["reason"].startswith(start)
    assert not remedy or found["reason"] == start + remedy


def test_what_was_added_is_removed_when_nothing_is_asked_for(root):
    assert judge(Tree(str(root)), [])["file"] == ""
    write(root, ADDED, "GRUB_CMDLINE_LINUX_DEFAULT=x")
    found = judge(Tree(str(root)), [])
    assert found["file"] == "absent"
    assert found["reason"] == (
        "the running kernel still has parameters that cpu_partition_boot no longer asks for; reboot the host"
    )


def test_a_boot_that_did_not_bring_a_parameter_is_told_as_such(root):
    assert judge(Tree(str(root)), WANTED)["refusal"] == (
        "cpu_partition_boot: the host has booted with GRUB's configuration asking for it, and its kernel lacks"
        " rcu_nocbs=2-3; find out what its boot loader reads, or leave it out"
    )
    assert judge(Tree(str(root)), WANTED[:1])["refusal"] == ""


def test_the_file_that_is_looked_for_is_the_roles_own():
    templates = REPOSITORY / "roles/cpu_partition/templates/boot"
    assert [str(path.relative_to(templates)) for path in templates.rglob("*.j2")] == [f"{ADDED}.j2"]
