# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The checks of fast runs take what the planner plans and the action sends, on an empty host where all of it is due."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import settings as kernel_live
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged import checks
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.arguments import module_arguments
from machines import build, write
from planner_cases import CPU_HOST, IMAGE, instance, model, plan


class Programs:
    """Programs of a host on which nothing has happened yet."""

    check_mode = False

    def run_command(self, arguments, **_options):
        answers = {"systemctl": "ActiveState=inactive\nMainPID=0\n", "env": "", "systemd-detect-virt": ""}
        name = arguments[0].rpartition("/")[2]
        return (0, answers[name], "") if name in answers else (1, "", "no such program")


@pytest.fixture
def planned():
    return plan(CPU_HOST, [instance(models=["m"])], [model("m")], **IMAGE)


@pytest.fixture
def host(tmp_path, monkeypatch):
    root = build(tmp_path / "machine", sockets=1, cores=13, smt=1)
    write(tmp_path / "machine", "proc/cmdline", "quiet\n")
    write(tmp_path / "machine", "proc/sys/net/core/somaxconn", "128")
    monkeypatch.setattr(checks, "Sysfs", lambda _root: Tree(root))
    monkeypatch.setattr(checks.kernel_live, "Kernel", partial(kernel_live.Kernel, root))
    return checks.Host(Programs(), {"sources": "{}", "headers": {}})


def test_the_kernel_settings_of_a_plan(host, planned, tmp_path):
    given = {"settings": planned["kernel"], "state": "present", "require_live": "auto", "boot_file": "/none"}
    due = checks.kernel(host, {**given, "record": str(tmp_path / "kernel.json")}).due
    assert due.startswith("the kernel settings ")
    assert "net.core.somaxconn" in due


def test_the_partition_of_a_plan(host, planned, tmp_path):
    given = {"state": "present", "partition": planned["partition"], "boot_parameters": [], "reboot_ok": False}
    given |= {"is_controller": False, "record": str(tmp_path / "partition.json")}
    assert checks.partition(host, given).state["boot"]["missing"] == []


def test_the_models_of_a_plan(host, planned, tmp_path):
    given = module_arguments({"models": planned["models"], "instances": planned["instances"], "prune": False})
    found = checks.models(host, {**given, "root": str(tmp_path / "models")})
    assert found.due == "the model versions"


def test_the_allocator_of_a_plan(host, planned):
    assert checks.allocator(host, {"environment": planned["allocator"]}).due in {"", "the library of jemalloc"}


def test_the_instances_of_a_plan(host, planned, tmp_path, monkeypatch):
    given = {"instances": planned["instances"], "models": planned["models"], "model_root": str(tmp_path / "models")}
    given |= {"config_root": str(tmp_path / "etc"), "state_path": str(tmp_path / "trees"), "tree": "tfserving"}
    given |= {"unit_template": "tfserving@{name}.service", "health_template": "tfserving-health@{name}.service"}
    given |= {"state": "present", "revision": "", "final": True, "touched": [], "keep": [], "probe": True}
    monkeypatch.setattr(checks, "leftover", SimpleNamespace(found=list))
    assert "started ranker" in checks.instances(host, {**given, "may_stop": True}).due
