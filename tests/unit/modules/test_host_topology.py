# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as Ansible runs it."""

from __future__ import annotations

import pwd

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.modules import host_topology
from machines import build
from machines import topology as described
from running import run_module


@pytest.fixture
def run():
    """Runs the module and returns what it prints."""

    def call(**parameters):
        return run_module(host_topology, **parameters)

    return call


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_returns_the_topology_and_changes_nothing(run, tmp_path, check_mode):
    shape = {"sockets": 2, "gpus": [{"node": 1}], "nics": [{}]}
    result = run(sysroot=build(tmp_path, **shape), _ansible_check_mode=check_mode)
    assert result["topology"] == described(**shape)
    assert result["changed"] is False


def test_a_recording_is_read_without_the_programs_of_this_host(run, tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *_args, **_kwargs: pytest.fail("a program was started"))
    assert run(sysroot=build(tmp_path, gpus=[{}]))["topology"]["gpus"][0]["uuid"] is None


def test_other_vendors_gpus_are_found_on_demand(run, tmp_path):
    root = build(tmp_path, gpus=[{"vendor": "0x1234"}])
    assert run(sysroot=root)["topology"]["gpus"] == []
    assert len(run(sysroot=root, gpu_pci_vendors=["0x1234"])["topology"]["gpus"]) == 1


def test_a_folder_without_a_machine_is_refused_with_the_remedy(run, tmp_path):
    result = run(sysroot=str(tmp_path))
    assert result["failed"] is True
    assert result["msg"] == (
        f"sysroot: no CPU is listed in {tmp_path}/sys/devices/system/cpu or {tmp_path}/proc/cpuinfo; "
        "give the folder that holds the machine's sys and proc"
    )


def test_this_host_can_be_read(run):
    found = run()["topology"]
    assert any(cpu["online"] for cpu in found["cpus"])
    assert found["memory_mb"] > 0
    assert found["kernel"]


def test_every_returned_key_is_documented(run, tmp_path):
    documented = yaml.safe_load(host_topology.RETURN)["topology"]["contains"]
    found = run(sysroot=build(tmp_path, gpus=[{}], nics=[{}]))["topology"]
    assert found.keys() == documented.keys()
    for part in ("cpus", "nodes", "gpus", "nics"):
        assert found[part][0].keys() == documented[part]["contains"].keys()


def test_what_the_host_knows_under_the_servers_names_is_read(run, tmp_path, monkeypatch):
    """A directory need not list an account that it knows."""
    hidden = pwd.struct_passwd(("tfhealth-ranker", "x", 4711, 4711, "", "/", "/bin/sh"))
    known = {"tfhealth-ranker": hidden}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    found = run(group="root", instances=["ranker", "digits"])["accounts"]
    assert (found["group"]["name"], found["group"]["gid"]) == ("root", 0)
    names = {each["name"]: each["uid"] for each in found["accounts"]}
    assert (names["root"], names["tfhealth-ranker"]) == (0, 4711)
    assert run(group="no-such-group")["accounts"] == {"group": None, "accounts": []}
    assert run(group="root", sysroot=build(tmp_path))["accounts"] == {"group": None, "accounts": []}
