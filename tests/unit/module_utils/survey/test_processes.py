# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers are found in any container and below any wrapper, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import processes
from surveyed_host import BOOTED, SERVER, Host

CONTAINER = f"/docker/{'a' * 64}"


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def found(host):
    return [server.pid for server in processes.servers(host.tree)]


def test_a_server_is_known_by_its_program_its_first_word_or_its_name(host):
    host.process(10, ["model"], exe=f"{SERVER} (deleted)", comm="model")
    host.process(11, ["tensorflow_model_server_gpu", "--port=1"], exe="/opt/server", comm="server")
    host.process(12, ["/usr/bin/python3", "-m", "x"], comm="tensorflow_model_server")
    host.process(13, ["/usr/bin/vim", SERVER])
    host.process(14, ["docker", "run", "tensorflow/serving", SERVER])
    assert found(host) == [10, 11, 12]


@pytest.mark.parametrize(
    "wrapper",
    [
        ["tini", "--", SERVER],
        ["/bin/sh", "/usr/bin/tf_serving_entrypoint.sh", "--port=1"],
        ["python3", "launch.py"],
        ["nohup", SERVER],
        # A script of the server's name, which has the name of a server.
        ["/bin/sh", SERVER],
    ],
)
def test_the_server_below_a_wrapper_is_found_and_not_the_wrapper(host, wrapper):
    is_script = wrapper == ["/bin/sh", SERVER]
    host.process(20, wrapper, comm="tensorflow_model_server" if is_script else "", group=CONTAINER)
    host.process(21, [SERVER, "--port=1"], ppid=20, group=CONTAINER)
    assert found(host) == [21]


def test_a_server_that_is_about_to_start_another_program_is_still_the_server(host):
    host.process(30, [SERVER])
    host.process(31, [SERVER], ppid=30)
    assert found(host) == [30, 31]


def test_a_process_that_has_ended_and_is_not_yet_taken_away_is_none(host):
    host.process(40, [SERVER])
    host.write("proc/40/cmdline", "")
    assert found(host) == []


def test_a_process_whose_parent_does_not_ask_for_its_end_has_ended(host):
    host.process(45, [SERVER])
    (server,) = processes.servers(host.tree)
    assert processes.is_same(host.tree, server)
    host.write("proc/45/stat", (host.root / "proc/45/stat").read_text().replace(") S ", ") Z "))
    assert not processes.is_same(host.tree, server)


def test_a_process_that_ends_while_it_is_read_is_told_as_gone(host):
    host.process(50, [SERVER])
    (server,) = processes.servers(host.tree)
    # Another one has its id meanwhile.
    host.process(50, [SERVER], started=6000)
    with pytest.raises(processes.GoneError, match="the process 50 ended while it was read"):
        processes.read(host.tree, server)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", SERVER, "--port=1"], [SERVER, "--port=1"]),
        (["qemu-aarch64", "-L", "/x", SERVER, "--port=1"], [SERVER, "--port=1"]),
        (["/lib64/ld-linux-x86-64.so.2", SERVER], [SERVER]),
        (
            [SERVER, "--model_base_path=/x/tensorflow_model_server"],
            [SERVER, "--model_base_path=/x/tensorflow_model_server"],
        ),
        (["python3", "-m", "other", "--port=1"], ["python3", "-m", "other", "--port=1"]),
    ],
)
def test_a_command_line_begins_with_the_server(words, shown):
    assert processes.server_words(words) == shown


def test_an_empty_word_is_a_word_and_what_a_title_leaves_behind_is_not(host):
    host.process(60, [SERVER, "", "--port=1", "", ""])
    assert processes.argv(host.tree, 60) == [SERVER, "", "--port=1"]


def test_a_process_is_told_as_the_kernel_tells_it(host):
    environment = ["TF_CPP_MIN_LOG_LEVEL=1", "HF_TOKEN=planted"]
    host.process(
        70,
        [SERVER, "--port=1", "--token=planted"],
        environment=environment,
        cwd="/srv",
        group="/system.slice/old.service",
    )
    host.write("sys/fs/cgroup/system.slice/old.service/cpu.max", "150000 100000\n")
    host.write("sys/fs/cgroup/system.slice/old.service/memory.max", "max\n")
    host.write("sys/fs/cgroup/system.slice/memory.max", f"{512 << 20}\n")
    host.write("sys/fs/cgroup/system.slice/old.service/cpuset.cpus", "0-3\n")
    (server,) = processes.servers(host.tree)
    row = processes.read(host.tree, server)
    assert row["argv_sha256"] == processes.digest([SERVER, "--port=1", "--token=***"])
    del row["argv_sha256"]
    assert row == {
        "pid": 70,
        "exe": SERVER,
        "argv": [SERVER, "--port=1", "--token=***"],
        "environment": {"TF_CPP_MIN_LOG_LEVEL": "1"},
        "other_environment": ["HF_TOKEN"],
        "cwd": "/srv",
        "user": "root",
        "root": "/",
        "started": BOOTED + 50.0,
        "threads": 24,
        "rss_mb": 400,
        "allocator": "glibc",
        "cpus_allowed": "0-3",
        "cgroup": {
            "path": "/system.slice/old.service",
            "cpu_max": "150000 100000",
            "memory_max_mb": 512,
            "cpuset": "0-3",
        },
        "limits": {"nproc": 500000, "nofile": 1024, "memlock": None},
    }


def test_groups_begin_where_those_of_the_host_begin(host):
    host.process(1, ["/sbin/init"], comm="systemd", ppid=0, group="/lxc/guest/init.scope")
    host.process(80, [SERVER], group="/lxc/guest/system.slice/old.service")
    assert processes.group_path(host.tree, 80) == "/system.slice/old.service"


def test_a_host_on_cgroup_v1_has_its_limits_too(host):
    host.process(90, [SERVER])
    host.write("proc/mounts", "c /cg/memory cgroup rw,memory 0 0\nc /cg/cpu cgroup rw,cpu,cpuacct 0 0\n")
    host.write("proc/90/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n")
    host.write("cg/memory/docker/x/memory.limit_in_bytes", f"{2 << 30}\n")
    host.write("cg/cpu/docker/x/cpu.cfs_quota_us", "50000\n")
    host.write("cg/cpu/docker/x/cpu.cfs_period_us", "100000\n")
    found = processes.cgroup(host.tree, 90)
    assert (found["cpu_max"], found["memory_max_mb"]) == ("50000 100000", 2048)


def test_gpus_belong_to_the_processes_that_use_them():
    rows = [{"pid": "7", "gpu_uuid": "GPU-b"}, {"pid": "7", "gpu_uuid": "GPU-a"}, {"pid": None, "gpu_uuid": "GPU-c"}]
    assert processes.by_pid(rows) == {7: ["GPU-a", "GPU-b"]}
