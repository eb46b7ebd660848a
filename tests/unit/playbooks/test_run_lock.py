# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One run at a time on a host: the lock's file, and the runs that take it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import run_holder
from playbook_place import Place

MINE = {"run": "aaaaaaaaaaaa", "who": "me@here", "playbook": "site.yml", "since": "now"}
OTHER = {"run": "bbbbbbbbbbbb", "who": "bob@there", "playbook": "serve.yml", "since": "2026-01-02 03:04:05 UTC"}


def take(folder, holder, replace="", write=True):
    return run_lock.take(str(folder), holder, replace, write)


def test_the_first_takes_it_and_the_second_is_told_who_has_it(tmp_path):
    assert take(tmp_path, OTHER) == {}
    other = take(tmp_path, MINE)
    assert {name: other[name] for name in OTHER} == OTHER
    assert run_lock.refusal("gpu1", other) == (
        "gpu1: bob@there is changing this host (serve.yml, since 2026-01-02 03:04:05 UTC); wait until that run has "
        "ended, or, if it is known to be dead, wait 10 min or add -e fleet_break_lock=bbbbbbbbbbbb"
    )
    assert take(tmp_path, OTHER) == {}


def test_whoever_only_looks_takes_nothing(tmp_path):
    assert take(tmp_path / "none", MINE, write=False) == {}
    assert not (tmp_path / "none").exists()
    take(tmp_path, OTHER)
    assert take(tmp_path, MINE, write=False)["who"] == "bob@there"


def test_a_lock_that_nobody_renews_lapses_by_the_hosts_own_clock(tmp_path):
    take(tmp_path, OTHER)
    age(tmp_path, run_lock.LEASE_S - 30)
    assert take(tmp_path, MINE)["lapses_in_s"] <= 30
    age(tmp_path, run_lock.LEASE_S + 1)
    assert take(tmp_path, MINE) == {}


def test_a_clock_that_was_set_back_makes_no_lock_eternal(tmp_path):
    take(tmp_path, OTHER)
    age(tmp_path, -run_lock.LEASE_S - 60)
    assert take(tmp_path, MINE) == {}


def age(folder, seconds):
    then = time.time() - seconds
    os.utime(folder / run_lock.LOCK, (then, then))


def test_a_lock_is_broken_by_the_id_of_its_run_alone(tmp_path):
    take(tmp_path, OTHER)
    assert take(tmp_path, MINE, replace="cccccccccccc")["who"] == "bob@there"
    assert take(tmp_path, MINE, replace=OTHER["run"]) == {}


@pytest.mark.parametrize(
    "content", ["", "x", "bbbbbbbbbbbb\nnull\n", 'bbbbbbbbbbbb\n{"who": [1]}', "\x1b[2J\n{}", "b" * 9999]
)
def test_a_damaged_lock_holds_until_it_lapses_and_shows_nothing_that_acts(tmp_path, content):
    (tmp_path / run_lock.LOCK).write_text(content)
    sentence = run_lock.refusal("gpu1", take(tmp_path, MINE))
    assert " is changing this host (" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 500


@pytest.mark.parametrize("content", ["", "\x1b[2J\n{}", "$(reboot)\n{}", "b" * 9999, "bbbbbbbbbbbb\n" + "[" * 4000])
def test_of_a_damaged_lock_no_id_is_offered_that_nobody_could_write(tmp_path, content):
    (tmp_path / run_lock.LOCK).write_text(content)
    sentence = run_lock.refusal("gpu1", take(tmp_path, MINE))
    named = "add -e fleet_break_lock=bbbbbbbbbbbb"
    removed = f"remove {run_lock.FOLDER}/{run_lock.LOCK} on that host"
    assert sentence.endswith(f" wait 10 min or {named if content.startswith('bbbbbbbbbbbb' + chr(10)) else removed}")


@pytest.mark.parametrize("name", [run_lock.LOCK, f"{run_lock.LOCK}.new"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_waited_for(tmp_path, name, make):
    make(str(tmp_path / name))
    if name == run_lock.LOCK:
        with pytest.raises(OSError, match="it is no file"):
            take(tmp_path, MINE)
    else:
        assert take(tmp_path, MINE) == {}
        assert take(tmp_path, OTHER)["who"] == "me@here"


def test_of_many_that_start_at_the_same_moment_one_wins(tmp_path):
    holders = [{**MINE, "run": f"{number:012}"} for number in range(40)]
    with ThreadPoolExecutor(20) as pool:
        winners = [other for other in pool.map(lambda holder: take(tmp_path, holder), holders) if not other]
    assert len(winners) == 1


def shell(command):
    return subprocess.run(["/bin/sh", "-c", command], check=False).returncode


def test_the_shells_commands_renew_and_release_the_locks_of_their_own_run_alone(tmp_path):
    folder = tmp_path / "with blank"
    take(folder, MINE)
    age(folder, 300)
    shell(run_lock.renew_command(str(folder), OTHER))
    assert run_lock.read(str(folder))["lapses_in_s"] <= 300
    shell(run_lock.renew_command(str(folder), MINE))
    assert run_lock.read(str(folder))["lapses_in_s"] > 500
    shell(run_lock.release_command(str(folder), OTHER["run"]))
    assert take(folder, OTHER)["run"] == MINE["run"]
    shell(run_lock.release_command(str(folder), MINE["run"]))
    assert run_lock.read(str(folder)) == {}


def test_a_run_gets_its_lock_back_after_a_boot(tmp_path):
    shell(run_lock.renew_command(str(tmp_path / "new"), {**MINE, "playbook": "it's.yml"}))
    held = run_lock.read(str(tmp_path / "new"))
    assert (held["run"], held["playbook"]) == (MINE["run"], "it's.yml")


def test_a_process_is_known_by_its_start_and_only_on_its_own_machine():
    here = run_holder.this_run(os.getpid(), ["/srv/site.yml"])
    assert here["playbook"] == "site.yml"
    assert not run_holder.is_dead(here)
    assert run_holder.is_dead({**here, "started": "1"})
    assert not run_holder.is_dead({**here, "started": "1", "boot": "of another"})
    assert not run_holder.is_dead({**here, "started": "1", "pid": "x"})


# The same with ansible-playbook itself, which is held back by a FIFO until somebody writes to it.
@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.inventory({"tfserving": {"a": {}}})
    os.mkfifo(tmp_path / "wait")
    lock = {"name": "lock", "tfserving.fleet.run_lock": {"folder": f"{tmp_path}/run"}, "register": "lock"}
    refuse = {"ansible.builtin.assert": {"that": "lock.refusal == ''", "fail_msg": "{{ lock.refusal }}"}}
    hold = f"touch {tmp_path}/holds && exec cat {tmp_path}/wait"
    wait = {"ansible.builtin.command": {"argv": ["sh", "-c", hold]}, "when": "hold | default(false) | bool"}
    made.playbook(lock, refuse, wait)
    yield made
    # What a killed run has left behind reads to the end, which comes when this is closed.
    with suppress(OSError):
        os.close(os.open(tmp_path / "wait", os.O_WRONLY | os.O_NONBLOCK))


def until(condition):
    """Wait until ``condition`` holds; a test that hangs is ended from outside."""
    while not condition():
        time.sleep(0.05)


def held(place):
    return run_lock.read(f"{place.folder}/run")


def test_a_second_run_is_refused_while_the_first_one_lives_and_not_afterwards(place):
    first = place.start("play.yml", "-e", "hold=true")
    until(lambda: held(place))
    code, output = place.run("play.yml")
    assert code != 0
    assert f"a: {held(place)['who']} is changing this host (play.yml, since {held(place)['since']})" in output
    (place.folder / "wait").write_text("go on")
    first.communicate()
    until(lambda: not held(place))
    assert place.run("play.yml")[0] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_stopped_gives_its_lock_up(place, how):
    first = place.start("play.yml", "-e", "hold=true")
    # Not earlier: between two tasks ansible-core may take an interrupt for something else, and go on.
    until((place.folder / "holds").exists)
    os.kill(first.pid, how)
    first.wait()
    until(lambda: not held(place))


def test_a_run_that_failed_gives_its_lock_up_too(place):
    play = (place.folder / "play.yml").read_text()
    (place.folder / "play.yml").write_text(play + "  - ansible.builtin.fail:\n")
    assert place.run("play.yml")[0] != 0
    until(lambda: not held(place))


def test_a_lock_that_cannot_be_taken_at_all_is_a_refusal(place):
    (place.folder / "run").write_text("no directory")
    code, output = place.run("play.yml")
    assert code != 0
    assert f"{place.folder}/run: the lock of this host cannot be taken (File exists)" in output


def test_the_lock_of_a_dead_run_of_this_machine_is_taken_over_even_where_nobody_gave_it_up(place):
    dead = {**run_holder.this_run(os.getpid(), ["site.yml"]), "started": "1"}
    take(place.folder / "run", dead)
    code, output = place.run("play.yml")
    assert code == 0, output
    until(lambda: not held(place))


def test_check_mode_takes_nothing_and_is_refused_nothing(place):
    assert place.run("play.yml", "--check")[0] == 0
    assert not (place.folder / "run").exists()
    take(place.folder / "run", OTHER)
    assert place.run("play.yml", "--check")[0] == 0
