# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server is stopped by what has started it and put back from the record, and anything else is refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import deeds, origins, processes, takeover
from surveyed_host import SERVER, Host, Programs, recorded

UNIT = "old-serving.service"
PODMAN = json.loads(recorded("podman_inspect.json"))[0]["Id"]
DOCKER = json.loads(recorded("docker_inspect.json"))[0]["Id"]
SHOWN = recorded("systemctl_show.txt")
ARGV = [SERVER, "--port=9500"]


class Machine:
    """A host with one server, and programs that stop and start it."""

    def __init__(self, host: Host, group: str, answers: dict, stops: str, starts: str) -> None:
        self.host, self.group = host, group
        self.programs = Programs({**answers, stops: self.ends, starts: self.begins})
        self.stops = stops
        self.begins("")
        self.acted: list[str] = []

    def begins(self, _line: str) -> str:
        self.host.process(10, ARGV, group=self.group)
        return ""

    def ends(self, _line: str) -> str:
        with suppress(FileNotFoundError):
            self.host.ends(10)
        return ""

    def act(self, arguments):
        self.acted.append(" ".join(arguments))
        return self.programs(arguments)

    def means(self) -> takeover.Means:
        return takeover.Means(self.host.tree, self.programs, self.act, pause=lambda _seconds: None)


def systemd(host):
    answers = {"systemctl show": SHOWN, "systemctl disable": "", "systemctl enable": ""}
    return Machine(host, f"/system.slice/{UNIT}", answers, "systemctl stop", "systemctl start")


def podman(host):
    answers = {"podman inspect": recorded("podman_inspect.json"), "podman update --help": "Usage: podman update\n"}
    return Machine(host, f"/machine.slice/libpod-{PODMAN}.scope", answers, "podman stop", "podman start")


def compose(host):
    answers = {"docker inspect": recorded("docker_inspect.json"), "docker image": "[]", "docker update": ""}
    answers["docker update --help"] = "      --restart string   Restart policy\n"
    return Machine(host, f"/docker/{DOCKER}", answers, "docker stop", "docker start")


def supervised(host):
    host.write("etc/supervisor/supervisord.conf", f"[program:old]\ncommand={SERVER} --port=9500\n")
    host.process(9, ["/usr/bin/supervisord"], comm="supervisord")
    answers = {
        "supervisorctl -c /etc/supervisor/supervisord.conf status": (3, "old  RUNNING  pid 10, uptime 0:00:01\n", "")
    }
    begin = "supervisorctl -c /etc/supervisor/supervisord.conf "
    machine = Machine(host, "/system.slice/supervisor.service", answers, f"{begin}stop", f"{begin}start")
    machine.begins = lambda _line: host.process(10, ARGV, ppid=9, group="/system.slice/supervisor.service") or ""
    machine.programs.answers[f"{begin}start"] = machine.begins
    machine.begins("")
    return machine


KINDS = {
    "systemd": (systemd, UNIT, [f"systemctl disable {UNIT}", f"systemctl stop {UNIT}"],
                [f"systemctl enable {UNIT}", f"systemctl start {UNIT}"]),
    "podman": (podman, "old-podman", [f"podman stop {PODMAN}"], [f"podman start {PODMAN}"]),
    "compose": (compose, "scores/model", [f"docker update --restart=no {DOCKER}", f"docker stop {DOCKER}"],
                [f"docker update --restart=unless-stopped {DOCKER}", f"docker start {DOCKER}"]),
    "supervisor": (supervised, "old", ["supervisorctl -c /etc/supervisor/supervisord.conf stop old"],
                   ["supervisorctl -c /etc/supervisor/supervisord.conf start old"]),
}  # fmt: skip
NOTES = {
    "podman": ["its restart policy stays always, which this Podman cannot change: podman-restart.service starts it"],
    "compose": ["docker compose up starts scores/model again"],
    "supervisor": ["supervisord starts it when it begins; write autostart=false in /etc/supervisor/supervisord.conf"],
}


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "host")


def carry_out(machine, kind, name, state, folder, check=False, **given):
    wish = {"kind": kind, "name": name, "state": state, "pid": None, "argv_sha256": None, "definition": None}
    if state == "stopped":
        wish |= {"pid": 10, "argv_sha256": processes.digest(ARGV)}
    wanted = takeover.check({**wish, "seconds": 5, "record_folder": str(folder), **given})
    return takeover.carry_out(wanted, machine.means(), check)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_stopped_and_put_back(kind, host, tmp_path):
    made, name, stops, starts = KINDS[kind]
    machine = made(host)
    folder = tmp_path / "records"
    before = (True, True)
    after = (False, kind in ("podman", "supervisor"))

    foreseen = carry_out(machine, kind, name, "stopped", folder, check=True)
    assert (machine.acted, folder.exists()) == ([], False)
    stopped = carry_out(machine, kind, name, "stopped", folder)
    assert machine.acted == stops
    for found in (foreseen, stopped):
        assert found["changed"] is True
        assert (found["before"]["running"], found["before"]["starts_at_boot"]) == before
        assert (found["after"]["running"], found["after"]["starts_at_boot"]) == after
        assert found["diff"] == {"before": found["before"], "after": found["after"]}
        assert found["notes"] == NOTES.get(kind, [])
    record = stopped["record"]
    assert os.stat(record).st_mode & 0o777 == 0o600
    assert carry_out(machine, kind, name, "stopped", folder)["changed"] is False

    machine.acted.clear()
    assert carry_out(machine, kind, name, "started", folder, check=True)["changed"] is True
    assert machine.acted == []
    started = carry_out(machine, kind, name, "started", folder)
    assert machine.acted == starts
    assert (started["changed"], started["after"]["running"], started["after"]["starts_at_boot"]) == (True, *before)
    assert (started["record"], os.path.exists(record)) == (None, False)
    assert carry_out(machine, kind, name, "started", folder)["changed"] is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pid": 1}, "pid: the process 1 is not, or no longer, the server that was surveyed; survey the host again"),
        ({"pid": 99}, "pid: the process 99 is not, or no longer, the server that was surveyed; survey the host again"),
        (
            {"argv_sha256": "0" * 64},
            "pid: the process 10 is not, or no longer, the server that was surveyed; survey the host again",
        ),
        ({"definition": "0" * 64}, f"name: {UNIT} has changed since it was surveyed; survey the host again"),
        (
            {"name": "other.service"},
            f"name: the process 10 was started by systemd {UNIT}, not by systemd other.service; survey the host again",
        ),
        (
            {"kind": "docker"},
            f"name: the process 10 was started by systemd {UNIT}, not by docker {UNIT}; survey the host again",
        ),
    ],
)
def test_what_was_not_surveyed_is_refused_and_left_alone(given, message, host, tmp_path):
    machine = systemd(host)
    with pytest.raises(WishError) as error:
        carry_out(
            machine, given.pop("kind", "systemd"), given.pop("name", UNIT), "stopped", tmp_path / "records", **given
        )
    assert (str(error.value), machine.acted) == (message, [])


def test_a_runtime_that_does_not_answer_is_refused(host, tmp_path):
    machine = podman(host)
    machine.programs.answers["podman inspect"] = (1, "", "cannot connect, password=planted")
    with pytest.raises(WishError, match=r"what has started old-podman cannot be asked .*password=\*\*\*.*; run again"):
        carry_out(machine, "podman", "old-podman", "stopped", tmp_path / "records")
    assert machine.acted == []


def test_a_container_that_would_be_gone_with_its_stop_is_refused(host, tmp_path):
    machine = compose(host)
    shown = json.loads(recorded("docker_inspect.json"))
    shown[0]["HostConfig"]["AutoRemove"] = True
    machine.programs.answers["docker inspect"] = json.dumps(shown)
    with pytest.raises(WishError, match=r"removes itself as soon as it stops \(--rm\).*; start it without --rm first"):
        carry_out(machine, "compose", "scores/model", "stopped", tmp_path / "records")


def test_a_container_that_a_unit_starts_is_stopped_with_its_unit(host, tmp_path):
    machine = podman(host)
    shown = json.loads(recorded("podman_inspect.json"))
    shown[0]["Config"]["Labels"] = {"PODMAN_SYSTEMD_UNIT": UNIT}
    shown[0]["HostConfig"] |= {"AutoRemove": True, "RestartPolicy": {"Name": "no"}}
    answers = {"systemctl show": SHOWN, "systemctl disable": "", "systemctl enable": ""}
    machine.programs.answers |= {**answers, "systemctl stop": machine.ends, "systemctl start": machine.begins}
    machine.programs.answers["podman inspect"] = json.dumps(shown)
    carry_out(machine, "podman", "old-podman", "stopped", tmp_path / "records")
    carry_out(machine, "podman", "old-podman", "started", tmp_path / "records")
    assert machine.acted == [
        *(f"systemctl disable {UNIT}", f"systemctl stop {UNIT}", f"systemctl enable {UNIT}", f"systemctl start {UNIT}"),
    ]


def test_a_unit_that_runs_another_server_too_is_refused(host, tmp_path):
    machine = systemd(host)
    host.process(11, [SERVER, "--port=9600"], group=machine.group)
    with pytest.raises(WishError) as error:
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    problem = f"name: {UNIT} runs other servers too (process 11), which would stop with this one"
    assert str(error.value) == f"{problem}; stop it by hand once none of them is called"
    assert machine.acted == []


def test_what_has_started_a_server_by_hand_is_told(host):
    host.process(9, ["python3", "launch.py"], comm="launch.py")
    host.process(10, ARGV, ppid=9)
    deed = {"process": deeds.process(host.tree, processes.server(host.tree, 10))}
    origin = origins.by_nobody(processes.server(host.tree, 10))
    assert deeds.remains(deed, origin) == ["launch.py has started it, and may start it again"]


def test_a_record_that_cannot_be_written_is_told_before_anything_is_done(host, tmp_path, monkeypatch):
    def full(_record, _value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine = systemd(host)
    monkeypatch.setattr(takeover.Record, "save", full)
    with pytest.raises(
        WishError, match=r"old-serving\.service cannot be stopped \(No space left on device\); run again"
    ):
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    assert machine.acted == []


def test_a_program_that_hangs_is_told(host, tmp_path):
    machine = systemd(host)

    def hangs(_line):
        raise subprocess.TimeoutExpired("systemctl", 35)

    machine.programs.answers["systemctl stop"] = hangs
    with pytest.raises(WishError, match=r"cannot be stopped \(it has not answered within 35 s\); run again"):
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")


def test_a_unit_that_is_not_enabled_is_not_enabled_afterwards_either(host, tmp_path):
    machine = systemd(host)
    machine.programs.answers["systemctl show"] = SHOWN.replace("UnitFileState=enabled", "UnitFileState=static")
    found = carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    assert found["notes"] == [f"the unit {UNIT} is static, so that whatever wants it starts it again"]
    carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")
    assert machine.acted == [f"systemctl stop {UNIT}", f"systemctl start {UNIT}"]


def test_a_server_that_does_not_end_is_told_and_the_record_stays(host, tmp_path):
    machine = systemd(host)
    machine.programs.answers["systemctl stop"] = ""
    with pytest.raises(
        WishError, match="the process 10 still runs after the time it was given to end; look at its log"
    ):
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    # The next run goes on, and remembers how it was at first.
    machine.programs.answers["systemctl stop"] = machine.ends
    machine.programs.answers["systemctl show"] = SHOWN.replace("UnitFileState=enabled", "UnitFileState=disabled")
    assert carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")["changed"] is True
    assert carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")["changed"] is True
    assert machine.acted[-2:] == [f"systemctl enable {UNIT}", f"systemctl start {UNIT}"]


def test_a_server_that_something_starts_again_is_told(host, tmp_path):
    machine = systemd(host)

    def again(_line):
        machine.ends("")
        host.process(11, ARGV, group=machine.group)
        return ""

    machine.programs.answers["systemctl stop"] = again
    with pytest.raises(
        WishError, match=r"something has started old-serving\.service again, as process 11; stop what starts"
    ):
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")


def test_a_program_that_fails_is_told_in_its_words(host, tmp_path):
    machine = systemd(host)
    machine.programs.answers["systemctl stop"] = (1, "", "Access denied\n")
    with pytest.raises(WishError, match=r"systemctl stop old-serving.service ended with code 1 \(Access denied\)"):
        carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")


def test_a_unit_that_has_changed_since_it_was_stopped_is_not_started(host, tmp_path):
    machine = systemd(host)
    carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    machine.programs.answers["systemctl show"] = SHOWN.replace("--port=9500", "--port=9999")
    machine.acted.clear()
    with pytest.raises(
        WishError, match=r"old-serving\.service has changed since it was stopped; start it by hand, then remove"
    ):
        carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")
    assert machine.acted == []


def test_a_server_that_does_not_come_back_is_told_and_the_record_stays(host, tmp_path):
    machine = systemd(host)
    record = carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")["record"]
    machine.programs.answers["systemctl start"] = ""
    with pytest.raises(WishError, match="does not run as it did after the time it was given to begin; look at its log"):
        carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")
    assert os.path.exists(record)


def test_a_server_that_runs_again_already_is_only_enabled(host, tmp_path):
    machine = systemd(host)
    carry_out(machine, "systemd", UNIT, "stopped", tmp_path / "records")
    machine.begins("")
    found = carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")
    assert found["before"] == {"running": True, "pid": 10, "starts_at_boot": False}
    assert f"systemctl enable {UNIT}" in machine.acted


def test_without_a_record_nothing_is_started(host, tmp_path):
    machine = systemd(host)
    machine.ends("")
    found = carry_out(machine, "systemd", UNIT, "started", tmp_path / "records")
    assert (found["changed"], found["record"], machine.acted) == (False, None, [])


def test_a_damaged_record_is_refused(host, tmp_path):
    machine = systemd(host)
    path = takeover.record_path(str(tmp_path), "systemd", UNIT)
    (tmp_path / os.path.basename(path)).write_text("{}")
    with pytest.raises(WishError, match="is damaged; move it away"):
        carry_out(machine, "systemd", UNIT, "started", tmp_path)


def test_stopping_wants_what_the_survey_has_told():
    given = {"kind": "systemd", "name": UNIT, "state": "stopped", "pid": None, "argv_sha256": None, "definition": None}
    with pytest.raises(WishError, match="pid: is missing, or argv_sha256 is; give both as the survey has told them"):
        takeover.check({**given, "seconds": 5, "record_folder": "/x"})
    with pytest.raises(WishError, match="seconds: 0 is out of bounds; write 1 to 3600"):
        takeover.check({**given, "seconds": 0, "record_folder": "/x"})


def test_names_with_slashes_have_records_of_their_own():
    paths = {takeover.record_path("/x", "compose", name) for name in ("a/b", "a_b", "../a")}
    assert len(paths) == 3
    assert all(os.path.dirname(path) == "/x" for path in paths)


# A real process: it takes the name of the server, and waits for a signal.
WAITS = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(15, b"tensorflow_model_server")
with open("begun", "w") as told:
    print(os.environ["HF_TOKEN"], os.getcwd(), file=told)
signal.pause()
"""


class OneProcess(Tree):
    """The host as it is, with this one process and its successor alone: others may run servers on this machine."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def numbered(self, path: str, prefix: str) -> list[int]:
        if path != "proc":
            return super().numbered(path, prefix)
        return [pid for pid in super().numbered(path, prefix) if self.word in processes.argv(self, pid)]


@pytest.fixture
def by_hand(tmp_path):
    """Start a server as somebody does by hand; return its tree."""
    word, log = f"--port={os.getpid() % 50000 + 10000}", str(tmp_path / "log")
    # Whoever reads it waits until the process is there.
    os.mkfifo(tmp_path / "begun")
    deeds.begin(
        {
            "exe": os.path.realpath(sys.executable), "argv": [SERVER, "-c", WAITS, word], "cwd": str(tmp_path),
            "environment": ["HF_TOKEN=planted", f"PYTHONHOME={sys.base_prefix}"], "uid": os.getuid(),
            "gid": os.getgid(), "groups": os.getgroups(), "umask": "0027", "cpus": "0", "nofile": [512, 1024],
            "output": [log, log],
        }
    )  # fmt: skip
    tree = OneProcess(word)
    yield tree
    for server in processes.servers(tree):
        os.kill(server.pid, signal.SIGKILL)


def test_a_server_by_hand_is_ended_and_begun_again_as_it_was(by_hand, tmp_path):
    tree, begun = by_hand, tmp_path / "begun"
    assert begun.read_text() == f"planted {tmp_path}\n"
    (server,) = processes.servers(tree)
    means = takeover.Means(tree, Programs({}), Programs({}))
    name = origins.by_hand_name(server)
    wish = {
        "kind": "by_hand",
        "name": name,
        "definition": None,
        "seconds": 60,
        "record_folder": str(tmp_path / "records"),
    }

    def carry_out(state):
        known = {"pid": server.pid, "argv_sha256": processes.digest(server.shown), "state": state}
        return takeover.carry_out(takeover.check({**wish, **known}), means, False)

    before = {**deeds.process(tree, server), "parent": ""}
    stopped = carry_out("stopped")
    assert processes.servers(tree) == []
    assert "planted" not in json.dumps(stopped)
    assert stopped["deed"]["process"]["environment"] == ["HF_TOKEN", "PYTHONHOME"]
    started = carry_out("started")
    assert started["after"]["running"] is True
    assert begun.read_text() == f"planted {tmp_path}\n"
    (again,) = processes.servers(tree)
    assert {**deeds.process(tree, again), "parent": ""} == before
    assert (before["umask"], before["nofile"]) == ("0027", [512, 1024])


def test_a_process_with_a_root_of_its_own_is_refused(host):
    (host.root / "other").mkdir()
    host.process(10, ARGV, root=host.root / "other")
    with pytest.raises(WishError, match="has a root of its own, and could not be started in it again; stop it by hand"):
        deeds.process(host.tree, processes.server(host.tree, 10))
