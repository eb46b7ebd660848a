# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A load host as an action sees it: a directory of its own, which goes with all load."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
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


def test_a_run_has_a_directory_of_its_own(generator):
    with here.place(Action(), "load-1", generator) as place:
        folder = Path(place.folder)
        assert folder.parent == Path(generator["folder"])
        assert folder.stat().st_mode & 0o777 == 0o700
        place.put(f"{folder}/spec.json", "{}")
        assert place.run(f"cat '{folder}/spec.json'; echo no >&2; exit 3") == (3, "{}", "no\n")
    assert not folder.exists()


def test_two_runs_do_not_meet(generator):
    with here.place(Action(), "load-1", generator) as one, here.place(Action(), "load-1", generator) as other:
        assert one.folder != other.folder


def interrupted(generator):
    """Run something for ten minutes on a load host, and be interrupted."""
    with here.place(Action(), "load-1", generator) as place:
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
