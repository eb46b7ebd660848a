# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Each check against a made-up host: nothing is due where nothing has changed, and every kind of drift is found."""

from __future__ import annotations

import copy
import os
from functools import partial
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_record
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel import settings as kernel_live
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.store import RECORD
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged import checks
from machines import build, write


class Programs:
    """The programs of a host, by the first word of their command."""

    def __init__(self, **answers):
        self.answers, self.check_mode = answers, False

    def run_command(self, arguments, **_options):
        return self.answers.get(os.path.basename(arguments[0]), (127, "", "no such program"))


def host(**answers):
    return checks.Host(Programs(**answers))


# --- the record of the plan -----------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path):
    plan, key = tmp_path / "plan.json", tmp_path / "plan.key"
    plan_record.write(str(plan), {"schema": 1, "instances": [], "warnings": []})
    key.write_text("0" * 64 + "\n")
    return {"plan_path": str(plan), "key_path": str(key)}


def test_the_plan_in_force_is_read_for_those_who_need_it(recorded):
    here = host()
    assert checks.record(here, recorded).due == ""
    assert here.plan == {"schema": 1, "instances": [], "warnings": []}


def test_another_plan_is_another_state(recorded):
    before = checks.record(host(), recorded)
    plan_record.write(recorded["plan_path"], {"schema": 1, "instances": [], "warnings": ["new"]})
    assert checks.record(host(), recorded).state != before.state


def test_a_record_that_others_may_read_is_due(recorded):
    os.chmod(recorded["plan_path"], 0o644)
    assert checks.record(host(), recorded).due == "the record of the plan in force"


def test_another_key_or_mode_of_the_key_is_another_state(recorded):
    states = [checks.record(host(), recorded).state]
    os.chmod(recorded["key_path"], 0o640)
    states.append(checks.record(host(), recorded).state)
    with open(recorded["key_path"], "w", encoding="ascii") as file:
        file.write("1" * 64)
    states.append(checks.record(host(), recorded).state)
    assert states[0] != states[1] != states[2]


def test_a_key_that_is_gone_cannot_be_compared(recorded):
    os.unlink(recorded["key_path"])
    with pytest.raises(FileNotFoundError):
        checks.record(host(), recorded)


# --- hardware and driver --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"sockets": 4}, {"gpus": [{}]}, {"nics": [{}]}])
def test_other_hardware_is_another_state(tmp_path, more):
    one, other = build(tmp_path / "one"), build(tmp_path / "other", **more)
    found = [checks.hardware(host(), {"sysroot": root}) for root in (one, one, other)]
    assert found[0] == found[1]
    assert found[1].state != found[2].state


def driver(**found):
    read = {"users": [], "packages": {"installed": []}, **found}
    return SimpleNamespace(read=lambda *_arguments: read)


def test_processes_on_the_gpus_come_and_go(monkeypatch):
    given = {"kernel": "running", "ignore": []}
    monkeypatch.setattr(checks, "driver_reading", driver())
    before = checks.driver(host(), given)
    monkeypatch.setattr(checks, "driver_reading", driver(users=[{"pid": 1}]))
    assert checks.driver(host(), given) == before
    monkeypatch.setattr(checks, "driver_reading", driver(packages={"installed": ["nvidia-driver"]}))
    assert checks.driver(host(), given).state != before.state


# --- kernel ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    root = tmp_path / "kernel"
    write(root, "proc/sys/net/core/somaxconn", "4096")
    monkeypatch.setattr(checks.kernel_live, "Kernel", partial(kernel_live.Kernel, str(root)))

    def look(value="4096", modules=(), required=True, **answers):
        settings = {
            "sysctl": [{"name": "net.core.somaxconn", "value": value}],
            "sysfs": [],
            "modules": [{"name": name} for name in modules],
            "least": [],
            "live": {"required": required},
        }
        given = {"settings": settings, "state": "present", "require_live": "auto", "boot_file": "/none"}
        return checks.kernel(host(**answers), {**given, "record": str(tmp_path / "kernel.json")})

    return look


def test_settings_in_force_are_left_alone(kernel):
    assert kernel() == ("", [])


def test_a_setting_with_another_value_is_due_and_stays_as_it_is(kernel, tmp_path):
    assert kernel(value="8192").due == "the kernel settings net.core.somaxconn"
    assert (tmp_path / "kernel/proc/sys/net/core/somaxconn").read_text().strip() == "4096"
    assert not (tmp_path / "kernel.json").exists()


def test_a_kernel_module_that_is_not_loaded_is_due(kernel):
    found = kernel(modules=["no_such_module"], modprobe=(0, "insmod /lib/no_such_module.ko\n", ""))
    assert found.due == "the kernel settings no_such_module"


def test_a_kernel_module_that_cannot_be_loaded_is_told(kernel):
    assert kernel(modules=["no_such_module"], modprobe=(1, "", "not found")).state != []


# --- server, allocator and key --------------------------------------------------------------------------------------


@pytest.fixture
def released(tmp_path):
    release = tmp_path / "releases" / "one"
    release.mkdir(parents=True)
    (release / RECORD).write_text("{}")
    given = {"root": str(release.parent), "release": str(release), "method": "image", "version": "2.19.1"}
    return {**given, "package": "tensorflow-model-server", "tools": ["gnupg"], "keep": 3, "in_use": ["one"]}


LISTED = {"dpkg-query": (0, "gnupg 2.2 install installed\n", "")}


def test_a_release_in_place_is_left_alone(released):
    found = checks.server(host(**LISTED), released)
    assert (found.due, found.state["missing_tools"]) == ("", [])


def test_a_release_that_is_gone_is_due(released):
    os.unlink(os.path.join(released["release"], RECORD))
    assert checks.server(host(**LISTED), released).due == "the server's releases or packages"


def test_a_tool_that_is_gone_is_another_state(released):
    before = checks.server(host(**LISTED), released)
    assert checks.server(host(**{"dpkg-query": (1, "", "")}), released).state != before.state


def test_a_package_that_is_not_held_any_more_is_due(released):
    given = {**released, "method": "apt"}
    line = "tensorflow-model-server 2.19.1 {} installed\n"
    held = checks.server(host(**{"dpkg-query": (0, line.format("hold"), "")}), given)
    assert held.due == ""
    free = checks.server(host(**{"dpkg-query": (0, line.format("install"), "")}), given)
    assert free.due == "the server's releases or packages"


def test_a_second_build_of_the_package_is_due(released):
    lines = (
        "tensorflow-model-server 2.19.1 hold installed\ntensorflow-model-server-universal 2.19.1 install installed\n"
    )
    found = checks.server(host(**{"dpkg-query": (0, lines, "")}), {**released, "method": "apt"})
    assert found.due == "the server's releases or packages"


def test_what_the_allocator_says_is_part_of_the_state(tmp_path):
    library = tmp_path / "libjemalloc.so.2"
    given = {"environment": {"LD_PRELOAD": str(library), "MALLOC_CONF": "dirty_decay_ms:3000"}}
    assert checks.allocator(host(), given).due == "the library of jemalloc"
    library.write_bytes(b"")
    said = [checks.allocator(host(env=(0, "", text)), given) for text in ("fine", "fine", "Invalid conf pair")]
    assert said[0] == said[1]
    assert said[1].state != said[2].state


def test_without_jemalloc_there_is_nothing_to_ask():
    assert checks.allocator(host(), {"environment": {}}) == ("", "none")


@pytest.mark.parametrize(
    ("changed", "days", "due"),
    [
        (False, 31, ""),
        (False, None, ""),
        (True, 31, "the repository's signing key"),
        (False, 30, "the repository's signing key"),
    ],
)
def test_a_key_that_changes_or_ages_is_due(monkeypatch, changed, days, due):
    found = {
        "changed": changed,
        "path": "/k",
        "fingerprint": "F",
        "user_ids": [],
        "expires": "",
        "expires_in_days": days,
    }
    monkeypatch.setattr(checks, "Keyring", lambda module, _now: module)
    monkeypatch.setattr(checks, "keep", lambda module: {**found, "mode": module.check_mode})
    here = host()
    here.module.get_bin_path = lambda _name: "/usr/bin/gpg"
    assert checks.key(here, {"warn_days": 30}).due == due


def test_a_key_without_gpg_is_due():
    here = host()
    here.module.get_bin_path = lambda _name: None
    assert checks.key(here, {"warn_days": 30}).due == "gpg"


# --- partition and models -------------------------------------------------------------------------------------------


ACTIVE, GONE = (0, "ActiveState=active\nMainPID=0\n", ""), (0, "ActiveState=inactive\nMainPID=0\n", "")
NONE = {"mode": "none", "reason": "small", "slices": [], "irqs": None}


@pytest.fixture
def partition(tmp_path, monkeypatch):
    root = build(tmp_path / "machine")
    write(tmp_path / "machine", "proc/cmdline", "root=/dev/sda1 quiet\n")
    monkeypatch.setattr(checks, "Sysfs", lambda _root: Tree(root))

    def look(wanted=NONE, parameters=(), systemctl=GONE):
        given = {"state": "present", "partition": wanted, "boot_parameters": list(parameters), "reboot_ok": False}
        given |= {"is_controller": False, "record": str(tmp_path / "partition.json")}
        return checks.partition(host(systemctl=systemctl), given)

    return look


def test_a_host_without_a_partition_is_left_alone(partition):
    assert partition() == partition()
    assert partition().due == ""


def test_interrupts_that_are_still_steered_are_due(partition):
    assert partition(systemctl=ACTIVE).due.startswith("the CPU partition (")


def test_a_limit_of_another_run_is_due(partition, tmp_path):
    (tmp_path / "partition.json").write_text('{"affinity": "0"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _pid: {0})
        write(tmp_path / "machine", "proc/1/task/1/stat", "1 (init) S 0")
        write(tmp_path / "machine", "proc/1/cgroup", "0::/init.scope\n")
        assert partition().due.startswith("the CPU partition (")


def test_a_parameter_of_the_kernel_that_is_missing_is_due(partition):
    assert "nohz_full=2-3" in partition(parameters=["nohz_full=2-3"]).due


def test_another_reason_for_no_partition_is_another_state(partition):
    assert partition({**NONE, "reason": "old kernel"}).state != partition().state


RESULT = {"changed": False, "unsettled": False, "models": {"m": [1]}, "notes": [], "kept": []}


@pytest.mark.parametrize(
    ("more", "due"),
    [
        ({}, ""),
        ({"changed": True}, "the model versions"),
        ({"unsettled": True}, "the model versions"),
        ({"needs": [{"key": "m:2"}]}, "the model versions"),
    ],
)
def test_versions_that_come_go_or_are_not_proven_are_due(monkeypatch, more, due):
    asked = []
    monkeypatch.setattr(
        checks.repository, "execute", lambda params, check: asked.append((params, check)) or {**RESULT, **more}
    )
    assert checks.models(host(), {"models": []}).due == due
    assert asked[0][1] is True
    assert asked[0][0]["owner"] == "root"


def test_recorded_arguments_that_the_module_would_refuse_cannot_be_compared():
    with pytest.raises(WishError, match="the recorded arguments"):
        checks.models(host(), {"models": [{"name": "m"}]})


def test_a_version_that_is_gone_from_the_disk_is_found(tmp_path):
    model = {"name": "m", "versions": [1], "source": {"type": "path", "uri": str(tmp_path / "none")}}
    given = {"root": str(tmp_path / "models"), "models": [copy.deepcopy(model)], "instances": []}
    assert checks.models(host(), given).due == "the model versions"


# --- instances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "due"), [([], ""), (["tfserving@a.service.d"], "the trial in tfserving@a.service.d")]
)
def test_a_trial_that_was_left_behind_is_due(monkeypatch, tmp_path, trials, due):
    look = (checks.Finding("", {}), [{"name": "a"}])
    monkeypatch.setattr(checks, "Onlooker", lambda *_arguments: SimpleNamespace(look=lambda: look))
    monkeypatch.setattr(checks.leftover, "found", lambda: [tmp_path / trial / "x.conf" for trial in trials])
    here = host()
    assert checks.instances(here, {"config_root": str(tmp_path)}).due == due
    assert here.status == [{"name": "a"}]
