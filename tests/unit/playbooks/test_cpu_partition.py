# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the role cpu_partition does with the kernel's command line where it may not boot the host: this machine, dry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import boot_parameters
from machines import write
from running import run_playbook

PARAMETER = "isolcpus=managed_irq,2-3"


def run(folder: Path, reboot_ok: bool, in_vain: bool = False, grub: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the role's part for the boot in check mode, after a look at a host that lacks a parameter."""
    machine = folder / "machine"
    write(machine, "proc/cmdline", "quiet")
    write(machine, "proc/stat", "btime 2000000000")
    if grub:
        write(machine, "usr/sbin/update-grub", "#!/bin/sh")
    if in_vain:
        write(machine, "boot/grub/grub.cfg", f"linux /boot/vmlinuz quiet {PARAMETER}")
    found = boot_parameters.judge(Tree(str(machine)), [PARAMETER], reboot_ok, is_controller=True)
    wanted = [{"name": "managed_irq", "parameter": PARAMETER, "reason": "a reason"}]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_plan": {"partition": {"boot": wanted}},
            "cpu_partition_boot": ["managed_irq"],
            "cpu_partition_reboot_ok": reboot_ok,
            "cpu_partition_result": {"boot_parameters": found},
        },
        "tasks": [
            {"ansible.builtin.include_role": {"name": "tfserving.fleet.cpu_partition", "tasks_from": "boot.yml"}},
        ],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    return run_playbook(folder, "--check", "play.yml", ANSIBLE_DISPLAY_SKIPPED_HOSTS="false")


@pytest.mark.parametrize(
    ("reboot_ok", "grub", "remedy", "changed"),
    [
        (False, True, "set cpu_partition_reboot_ok to have it added and the host rebooted", False),
        (True, False, "add it in the boot loader of this host, which has no update-grub, and reboot it", False),
        # The connection says that this is the machine that Ansible runs on.
        (True, True, "it is added; reboot the host by hand, since Ansible runs on it", True),
    ],
    ids=["without leave", "without GRUB", "on the controller"],
)
def test_a_host_that_is_not_booted_is_told_what_a_boot_would_bring(tmp_path, reboot_ok, grub, remedy, changed):
    done = run(tmp_path, reboot_ok, grub=grub)
    assert done.returncode == 0, done.stdout + done.stderr
    reason = f"cpu_partition_boot asks for {PARAMETER}, which the running kernel was not booted with; {remedy}"
    assert reason in " ".join(done.stdout.split())
    assert ("Configure kernel parameters in GRUB" in done.stdout) == changed
    assert "Reboot the host" not in done.stdout


def test_a_host_that_has_booted_in_vain_is_refused_before_anything_is_written(tmp_path):
    done = run(tmp_path, reboot_ok=True, in_vain=True)
    assert done.returncode != 0
    assert f"its kernel lacks {PARAMETER}; find out what its boot loader reads, or leave it out" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert "Configure kernel parameters in GRUB" not in done.stdout
