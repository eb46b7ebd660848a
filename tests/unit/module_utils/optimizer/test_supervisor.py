# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The confined process: that it has no network and no more memory and time than it was given, and leaves nothing.

A small program stands in for TensorFlow. The confinement is this host's own.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer import confinement, inside, supervisor
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer.request import Limits, Request
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer.runtime import FailureError
from repository import REPOSITORY

LIMITS = Limits(200, 60, 1)
PREAMBLE = f"#!{sys.executable}\nimport json, os, sys, time\n"
SAYS = "print(json.dumps({'built': True, 'why': '', 'confinement': {'network': 'none'}}))\n"
MAKES = "open(os.environ['TMPDIR'] + '/made/saved_model.pb', 'w').write('graph')\n"

pytestmark = pytest.mark.skipif(
    confinement.means(LIMITS, None, {}) is None, reason="this host lets no process be cut off the network"
)


@pytest.fixture
def carried_out(tmp_path, monkeypatch):
    """Return a function that has a program stand in for the confined process, and returns the result."""

    def run(program: str, limits: Limits = LIMITS) -> dict[str, Any]:
        stand_in(tmp_path, program)
        monkeypatch.setattr(supervisor.sys, "executable", str(tmp_path / "stand-in"))
        return supervisor.carry_out(asked(tmp_path, limits), tmp_path / "request.json")

    return run


def stand_in(folder: Path, program: str) -> None:
    path = folder / "stand-in"
    path.write_text(PREAMBLE + program)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def asked(folder: Path, limits: Limits = LIMITS) -> Request:
    return Request("build", folder / "model", folder / "out", (2, 19, 1), {"kind": "freeze"}, None, limits)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in ("stand-in", "request.json"))


def test_what_was_made_appears_and_nothing_else(carried_out, tmp_path):
    found = carried_out(MAKES + SAYS)
    assert (found["built"], found["why"], found["task"]) == (True, "", "build")
    assert found["confinement"]["cpus"] == 1
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "saved_model.pb").read_text() == "graph"


def test_it_has_no_interface_but_the_loopback(carried_out):
    found = carried_out(
        "names = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]\n"
        "print(json.dumps({'built': False, 'why': ' '.join(names)}))\n"
    )
    assert found["why"] in ("lo", "")


def test_more_memory_than_it_was_given_is_said_in_words(carried_out, tmp_path):
    found = carried_out(MAKES + "held = bytearray(400 * 1024 * 1024)\n" + SAYS)
    assert found["why"] == "it needed more than the 200 MB of memory that it was given: allow it more"
    assert not found["built"]
    assert left(tmp_path) == []


def test_more_time_than_it_was_given_ends_it(carried_out, tmp_path):
    found = carried_out(MAKES + "time.sleep(600)\n", Limits(200, 1, 1))
    assert found["why"] == "it took longer than the 1 s that it was given: allow it more"
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("sys.exit('Fatal: no such thing\\x1b[31m')\n", "code 1: Fatal: no such thing [31m"),
        ("sys.stderr.write('I0000 00:00:1 port.cc] oneDNN\\n'); os._exit(3)\n", "code 3: no word"),
        ("os.abort()\n", f"code {-signal.SIGABRT}: no word"),
        ("print('[' * 100000)\n", "code 0: no word"),
    ],
)
def test_a_process_that_ends_without_a_result_is_told_with_its_last_line(carried_out, tmp_path, program, why):
    assert carried_out(MAKES + program)["why"] == f"the confined process ended with {why}"
    assert left(tmp_path) == []


def test_nothing_is_made_in_the_place_of_something(carried_out, tmp_path):
    (tmp_path / "out").mkdir()
    found = carried_out(MAKES + SAYS)
    assert found["why"] == (f"{tmp_path}/out exists already, and nothing is ever made in its place: name another one")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_missing_is_refused(tmp_path):
    request = asked(tmp_path / "gone")
    assert supervisor.carry_out(request, tmp_path / "r.json")["why"] == f"{tmp_path}/gone is no directory"


def test_what_a_killed_run_left_is_removed_by_the_next(carried_out, tmp_path):
    (tmp_path / ".out.partial" / "made").mkdir(parents=True)
    (tmp_path / ".out.partial" / "made" / "half").write_text("")
    carried_out(MAKES + SAYS)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["saved_model.pb"]


def test_a_host_without_means_refuses(carried_out, monkeypatch):
    monkeypatch.setattr(confinement, "means", lambda *_: None)
    assert carried_out(MAKES + SAYS)["why"] == (
        "this host gives no way to cut a process off the network: run the builder as root, or let users make "
        "namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )


def test_it_is_told_nothing_of_its_surroundings_but_a_few_names(carried_out, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    found = carried_out("print(json.dumps({'built': False, 'why': ' '.join(sorted(os.environ))}))\n")
    assert "AWS_SECRET_ACCESS_KEY" not in found["why"]
    assert "TMPDIR" in found["why"]


def test_whoever_ends_the_program_ends_the_confined_process(tmp_path):
    """The program is a process of its own here, so that it can be told to end."""
    ends = tmp_path / "pid"
    stand_in(tmp_path, f"open({str(ends)!r}, 'w').write(str(os.getpid())); print(flush=True)\ntime.sleep(600)\n")
    program = (
        "import sys; from pathlib import Path; from optimizer import supervisor; "
        "from optimizer.request import Limits, Request; "
        f"sys.executable = {str(tmp_path / 'stand-in')!r}; folder = Path({str(tmp_path)!r}); "
        "supervisor.carry_out(Request('build', folder, folder / 'out', (2, 19, 1), {'kind': 'freeze'}, None, "
        "Limits(200, 600, 1)), folder / 'request.json')"
    )
    sources = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins" / "module_utils")}
    with subprocess.Popen([sys.executable, "-c", program], env=sources) as process:
        while not (ends.exists() and ends.read_text()):
            assert process.poll() is None
        process.terminate()
        assert process.wait() == 1
    assert not Path(f"/proc/{ends.read_text()}").exists()
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: optimizer REQUEST.json\n"),
        (["none.json"], "the request cannot be carried out: {}/none.json cannot be read: no such file or directory\n"),
    ],
)
def test_what_is_no_request_ends_the_program_with_a_sentence(tmp_path, words, said):
    sources = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins" / "module_utils")}
    command = [sys.executable, "-B", "-m", "optimizer", *words]
    done = subprocess.run(command, env=sources, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said.format(tmp_path))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (
            {"network": "eth0", "memory": "cgroup"},
            "the confined process sees the network (eth0), so no model is loaded",
        ),
        (
            {"network": "none", "memory": "none"},
            "the confined process has no bound on its memory, so no model is loaded",
        ),
    ],
)
def test_a_process_that_is_not_confined_loads_no_model(tmp_path, found, why):
    with pytest.raises(FailureError) as refused:
        inside._checked(asked(tmp_path), found)
    assert str(refused.value) == why


# --- systemd, which a test does not have --------------------------------------------------------------------


def test_a_host_with_systemd_is_asked_for_a_service_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr(confinement.os, "geteuid", lambda: 0)
    monkeypatch.setattr(confinement, "SYSTEMD_RUNS", tmp_path)
    monkeypatch.setattr(confinement.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(confinement, "_works", lambda command: command[0] == "systemd-run")
    found = confinement.means(Limits(4096, 600, 2), Path("/srv/.out.partial"), {"LANG": "C"})
    assert found is not None
    assert found.by == "systemd"
    properties = dict(each.removeprefix("--property=").split("=", 1) for each in found.prefix if "--property=" in each)
    assert {name: properties[name] for name in ("PrivateNetwork", "MemoryMax", "CPUQuota", "RuntimeMaxSec")} == {
        "PrivateNetwork": "yes",
        "MemoryMax": "4096M",
        "CPUQuota": "200%",
        "RuntimeMaxSec": "630",
    }
    assert properties["ReadWritePaths"] == "/srv/.out.partial"
    assert "--setenv=LANG=C" in found.prefix


def test_systemd_that_does_not_answer_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(confinement.os, "geteuid", lambda: 0)
    monkeypatch.setattr(confinement, "SYSTEMD_RUNS", tmp_path)
    monkeypatch.setattr(confinement.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(confinement, "network", lambda: "eth0")
    monkeypatch.setattr(confinement, "_works", lambda command: command[0] == "unshare")
    found = confinement.means(LIMITS, None, {})
    assert found == confinement.Means("unshare", ["unshare", "--net", "--"])


def test_a_container_without_a_network_needs_no_other_one(monkeypatch, tmp_path):
    monkeypatch.setattr(confinement, "SYSTEMD_RUNS", tmp_path / "none")
    monkeypatch.setattr(confinement, "network", lambda: "none")
    assert confinement.means(LIMITS, None, {}) == confinement.Means("surroundings", [])


def test_words_of_a_lack_of_memory_are_known(tmp_path):
    text = "Finished with result: oom-kill\nMain processes terminated with: code=killed/status=KILL\n"
    stand_in(tmp_path, "")
    with (tmp_path / "notes").open("w+b") as notes, (tmp_path / "out").open("w+b") as out:
        notes.write(text.encode())
        found = supervisor._result(out, notes, 255, asked(tmp_path))
    assert json.dumps(found) == json.dumps(
        {"why": "it needed more than the 200 MB of memory that it was given: allow it more"}
    )
