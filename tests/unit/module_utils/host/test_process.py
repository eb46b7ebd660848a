# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""systemd, the journal and /proc, read from a made-up host."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from serving_double import FakeHost

UNIT = "tfserving@ranker.service"
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


class Proc:
    """A /proc tree in a directory."""

    def __init__(self, root):
        self.root = root
        (root / "net").mkdir()
        self.listening()

    def listening(self, table="tcp6", port=None, inode=77, state="0A"):
        row = "" if port is None else f"   0: {'0' * 32}:{port:04X} {'0' * 32}:0000 {state} 0:0 00:0 0 0 0 {inode} 1\n"
        (self.root / "net" / table).write_text(HEADER + row)

    def process(self, pid, comm="server", sockets=(), cgroup="/system.slice/other.service", **files):
        home = self.root / str(pid)
        (home / "fd").mkdir(parents=True)
        (home / "comm").write_text(comm + "\n")
        (home / "cgroup").write_text(f"0::{cgroup}\n")
        (home / "fd" / "0").symlink_to("/dev/null")
        for number, inode in enumerate(sockets, 1):
            (home / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        for name, text in files.items():
            (home / name).write_text(text)
        return home


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path)


def unit(**properties):
    return process_facts.unit(FakeHost(**properties).run, UNIT)


def test_a_running_unit_is_read_from_systemd():
    found = unit()
    assert (found.pid, found.binary, found.invocation, found.dead) == (
        4242,
        "/usr/bin/tensorflow_model_server",
        "abc123",
        False,
    )


@pytest.mark.parametrize(
    ("properties", "verdict"),
    [
        (
            {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "255"},
            "the unit is failed, exit status 255",
        ),
        ({"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"}, "the unit is failed, ended by signal 9"),
        ({"ActiveState": "failed", "Result": "oom-kill"}, "the unit is failed, result oom-kill"),
        ({"ActiveState": "inactive", "LoadState": "not-found"}, f"the unit {UNIT} does not exist"),
        ({"ActiveState": "inactive"}, "the unit is inactive"),
    ],
)
def test_a_dead_unit_says_how_it_ended(properties, verdict):
    found = unit(**properties)
    assert found.dead
    assert found.verdict == verdict


def test_a_host_without_systemd_is_an_error_in_a_sentence():
    with pytest.raises(RuntimeError, match=f"systemd does not report the state of {UNIT} \\(not found\\)"):
        process_facts.unit(lambda _arguments: (127, "", "not found"), UNIT)


def test_the_log_is_that_of_the_present_start():
    host = FakeHost()
    host.log = {"abc123": ["loading", "", "no such op"], "unit": ["yesterday"]}
    assert process_facts.journal(host.run, unit()) == ["loading", "no such op"]


def test_lines_about_polling_do_not_bury_the_log():
    host = FakeHost()
    polling = ["I server_core.cc:486] Adding/updating models.", "I server_core.cc:614]  (Re-)adding model: ranker"]
    host.log = {"abc123": [f"line {number}" for number in range(30)] + polling * 50}
    assert process_facts.journal(host.run, unit()) == [f"line {number}" for number in range(10, 30)]


@pytest.mark.parametrize("invocation", ["", "abc123"])
def test_without_lines_of_the_present_start_the_units_are_taken(invocation):
    host = FakeHost()
    host.log = {"unit": ["yesterday"]}
    assert process_facts.journal(host.run, unit(InvocationID=invocation)) == ["yesterday"]


def test_a_host_without_a_journal_has_no_lines():
    assert process_facts.journal(lambda _arguments: (127, "", "not found"), unit()) == []


def test_the_version_is_the_binarys_own():
    host = FakeHost()
    assert process_facts.server_version(host.run, unit()) == "2.19.1-rw+sha.1"


@pytest.mark.parametrize(("pid", "root"), [("4242", "/proc/4242/root"), ("0", "/opt/tfserving/root")])
def test_a_binary_inside_a_root_is_asked_inside_with_what_its_unit_binds_there(pid, root):
    host = FakeHost()
    process_facts.server_version(host.run, unit(RootDirectory="/opt/tfserving/root", MainPID=pid))
    assert host.calls[-1] == [
        "chroot",
        "--userspec=65534:65534",
        root,
        "/usr/bin/tensorflow_model_server",
        "--version",
    ]


def test_a_missing_binary_has_no_version():
    assert process_facts.server_version(lambda _arguments: (127, "", "no such file"), unit()) == ""
    assert process_facts.server_version(FakeHost().run, unit(ExecStart="")) == ""


@pytest.mark.parametrize("table", ["tcp", "tcp6"])
def test_the_units_own_process_is_no_stranger(proc, table):
    proc.listening(table, 8501)
    proc.process(4242, sockets=[77])
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == ""


def test_another_process_on_the_port_is_named(proc):
    proc.listening(port=8501)
    proc.process(4242, sockets=[5])
    proc.process(7, "haproxy", sockets=[77])
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == "process 7 (haproxy)"


def test_a_process_with_a_name_that_would_act_in_a_terminal_is_named_in_signs(proc):
    proc.listening(port=8501)
    proc.process(4242, sockets=[5])
    proc.process(7, "a\x1b[2J\nb", sockets=[77])
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == r"process 7 (a\x1b[2J\nb)"


def test_a_child_of_the_unit_is_no_stranger(proc):
    proc.listening(port=8501)
    proc.process(4242)
    proc.process(4300, sockets=[77], cgroup=f"/tfserving.slice/{UNIT}")
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == ""


@pytest.mark.parametrize("state", ["01", "06"])
def test_a_connection_is_no_listener(proc, state):
    proc.listening(port=8501, state=state)
    proc.process(7, "curl", sockets=[77])
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == ""


def test_a_listener_that_cannot_be_seen_counts_as_none(proc):
    proc.listening(port=8501)
    assert process_facts.stranger_on_port(8501, unit(), proc.root) == ""


STATUS = "Name:\tserver\nVmRSS:\t  204800 kB\nThreads:\t3\nCpus_allowed_list:\t2-9\nMems_allowed_list:\t0\n"
STAT = "4242 (model server) S " + " ".join(["0"] * 18) + " 12345 0 0\n"


def test_a_process_is_read_from_proc(proc):
    (proc.root / "stat").write_text("cpu 0\nbtime 1700000000\n")
    home = proc.process(
        4242,
        status=STATUS,
        stat=STAT,
        environ="PATH=/bin\0MALLOC_CONF=dirty_decay_ms:1\0SECRET=x\0",
        maps="7f r-xp 0 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6\n8f 0 /usr/lib/x86_64/libjemalloc.so.2\n",
    )
    for thread, cpus in ((4242, "2-9"), (4243, "2-9"), (4244, "0-15")):
        (home / "task" / str(thread)).mkdir(parents=True)
        (home / "task" / str(thread) / "status").write_text(f"Cpus_allowed_list:\t{cpus}\n")
    assert process_facts.process(4242, proc.root) == process_facts.Process(
        cpus="2-9",
        cpus_of_threads=("0-15", "2-9"),
        nodes="0",
        rss_mb=200,
        threads=3,
        allocator="jemalloc",
        malloc_conf="dirty_decay_ms:1",
        started_at="2023-11-14T22:15:23Z",
        replaced=False,
    )


@pytest.mark.parametrize(
    ("maps", "allocator"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6", "glibc"),
        ("/lib/x86_64-linux-gnu/libc-2.31.so", "glibc"),
        ("/lib/libtcmalloc_minimal.so.4 /lib/libc.so.6", "tcmalloc"),
        ("/usr/lib/libmimalloc.so.2.0", "mimalloc"),
        ("/usr/bin/static", "unknown"),
    ],
)
def test_the_allocator_is_the_one_that_is_mapped(proc, maps, allocator):
    proc.process(4242, status=STATUS, maps=maps)
    assert process_facts.process(4242, proc.root).allocator == allocator


def test_an_exchanged_binary_is_noticed(proc):
    (proc.process(4242, status=STATUS) / "exe").symlink_to("/usr/bin/tensorflow_model_server (deleted)")
    assert process_facts.process(4242, proc.root).replaced


def test_a_gone_process_is_nothing(proc):
    assert process_facts.process(4242, proc.root) is None


def test_this_very_process_can_be_read():
    found = process_facts.process(os.getpid())
    assert found.allocator in ("glibc", "jemalloc", "tcmalloc", "unknown")
    assert found.rss_mb > 5
    assert found.started_at.startswith("20")
