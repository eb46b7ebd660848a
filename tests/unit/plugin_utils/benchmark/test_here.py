# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A load host as an action sees it: a directory of its own, which goes with all load."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here


class Action:
    """An action whose host is this machine."""

    _task = SimpleNamespace(_uuid="1234")

    def _low_level_execute_command(self, command):
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def _transfer_data(self, path, text):
        Path(path).write_text(text)


@pytest.fixture
def generator(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    return {"python": "python3", "program": "/opt/load.zip", "folder": str(folder)}


def never():
    return False


def test_a_run_has_a_directory_of_its_own(generator):
    with here.place(Action(), "load-1", generator, never) as place:
        folder = Path(place.folder)
        assert folder.parent == Path(generator["folder"])
        assert folder.stat().st_mode & 0o777 == 0o700
        place.put(f"{folder}/spec.json", "{}")
        assert place.run(f"cat '{folder}/spec.json'; echo no >&2; exit 3") == (3, "{}", "no\n")
    assert not folder.exists()


def test_two_runs_do_not_meet(generator):
    one, other = (here.place(Action(), "load-1", generator, never) for _run in range(2))
    with one as first, other as second:
        assert first.folder != second.folder


def interrupted(generator):
    """Run something for ten minutes on a load host, and be interrupted."""
    with here.place(Action(), "load-1", generator, never) as place:
        out = f"{place.folder}/out"
        place.run(f"mkdir '{out}' && (setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >'{out}/pid')")
        place.run(f"cp '{out}/pid' '{generator['folder']}/pid'")
        raise KeyboardInterrupt


def lives(pid):
    listed = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


def test_a_run_that_is_interrupted_leaves_no_load_and_no_directory(generator):
    with pytest.raises(KeyboardInterrupt):
        interrupted(generator)
    pid = Path(generator["folder"], "pid")
    assert list(Path(generator["folder"]).iterdir()) == [pid]
    while lives(pid.read_text().strip()):  # a test that hangs is ended from outside
        time.sleep(0.01)


def test_the_first_command_after_the_end_of_the_run_fails_and_those_that_clean_up_do_not(generator):
    ended = []
    with here.place(Action(), "load-1", generator, lambda: bool(ended)) as place:
        ended.append(True)
        with pytest.raises(WishError, match=r"^the run of ansible-playbook has ended"):
            place.run("echo")
        assert place.run("echo").out == "\n"
    assert list(Path(generator["folder"]).iterdir()) == []


@pytest.fixture
def crew(monkeypatch, tmp_path):
    """Return what makes a crew of this process, and the exit codes with which it was ended."""
    exits = []
    monkeypatch.setattr(here.C, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(here.context, "CLIARGS", {"forks": 5})
    monkeypatch.setattr(here.os, "_exit", exits.append)
    return lambda me="load-1": here.crew(Action(), me, ["load-1", "gpu-a"]), exits


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_to_end_has_time_for_the_way_back(crew, number):
    make, exits = crew
    usual = signal.getsignal(number)
    with make() as together:
        assert not together.is_left()
        os.kill(os.getpid(), number)
        assert together.is_left()
        assert exits == []
    # Ansible would wait with the result of the task for a reader that is gone.
    assert exits == [1]
    assert signal.getsignal(number) == usual


def test_a_worker_whose_run_goes_on_returns_its_result(crew):
    make, exits = crew
    with make():
        pass
    assert exits == []


def test_a_worker_heeds_its_conductor_when_ansible_playbook_is_gone(crew, monkeypatch):
    make, exits = crew
    with make() as conductor, make("gpu-a") as other:
        monkeypatch.setattr(here.os, "getppid", lambda: 1)
        assert conductor.is_left()
        orders = other.orders(60)
        conductor.order({"gpu-a": "put everything back"})
        assert next(orders) == "put everything back"
        conductor.dismiss()
        assert list(orders) == []
    assert exits == [1, 1]


def test_a_directory_that_outlives_its_task_is_found_and_removed_by_another(generator):
    first = here.opened(Action(), "load-1", generator)
    first.put(f"{first.folder}/kept", "yes")
    again = here.opened(Action(), "load-1", generator, folder=first.folder)
    assert again.run(f"cat '{again.folder}/kept'").out == "yes"
    here.closed(again)
    assert list(Path(generator["folder"]).iterdir()) == []
