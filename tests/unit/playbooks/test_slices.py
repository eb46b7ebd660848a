# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A run in slices, with ansible-playbook itself: turns, the signal to stop, what is killed and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from playbook_place import Place
from repository import REPOSITORY
from running import playbook_environment
from simulated_queue import AT_LENGTH

HERE = Path(__file__).parents[1] / "support"
at_length = pytest.mark.skipif(not AT_LENGTH, reason="`make test-long` runs it; others show a part of the same")
TURN = "tfserving.fleet.fleet_turn"
# As in playbooks/plays/serve.yml.
FLEET = "{{ fleet_hosts | default('tfserving') }}"
FIRST = "query('ansible.builtin.inventory_hostnames', [fleet_hosts | default('tfserving')] | flatten | join(':'))[0]"
SERIAL = f"{{{{ hostvars[{FIRST}].fleet_serial }}}}"


class Sliced(Place):
    """A folder with an inventory and a playbook that takes turns; each host writes when it begins and ends."""

    def __init__(self, folder, hosts=4, **variables):
        super().__init__(folder)
        self.inventory({"tfserving": {f"h{number}": {} for number in range(1, hosts + 1)}}, **variables)
        batch = {"hosts": "{{ ansible_play_batch }}", "kind": "serve"}
        serve = {
            "hosts": FLEET,
            "gather_facts": False,
            "any_errors_fatal": True,
            "serial": SERIAL,
            "pre_tasks": [{TURN: {**batch, "state": "take"}, "run_once": True, "register": "fleet_turn"}],
            "tasks": [
                {
                    "ansible.builtin.command": {
                        "argv": ["sh", "work.sh", "{{ inventory_hostname }}"],
                        "chdir": str(folder),
                    }
                }
            ],
            "post_tasks": [{TURN: {**batch, "state": "give"}, "run_once": True}],
        }
        lock = {
            "tfserving.fleet.run_lock": {"folder": f"{folder}/lock-{{{{ inventory_hostname }}}}"},
            "register": "lock",
        }
        begin = {
            "hosts": FLEET,
            "gather_facts": False,
            "any_errors_fatal": True,
            "tasks": [
                lock,
                {"ansible.builtin.assert": {"that": "lock.refusal == ''", "fail_msg": "{{ lock.refusal }}"}},
                {
                    TURN: {
                        "state": "ready",
                        "kind": "serve",
                        "hosts": "{{ ansible_play_hosts }}",
                        "drivers": "{{ drivers | default([]) }}",
                    },
                    "run_once": True,
                    "register": "fleet_ready",
                },
            ],
        }
        hosts_yml = {"ansible.builtin.import_playbook": f"{REPOSITORY}/playbooks/plays/hosts.yml"}
        (folder / "play.yml").write_text(json.dumps([hosts_yml, begin, serve]))
        (folder / "work.sh").write_text(
            "echo begin $1 >> log; test ! -p wait-$1 || cat wait-$1; test ! -e fail-$1 || exit 3; echo end $1 >> log\n"
        )

    def wait(self, host):
        """Have a host wait until somebody lets it go on."""
        os.mkfifo(self.folder / f"wait-{host}")

    def go_on(self, host):
        """Let it, if it waits."""
        with suppress(OSError):
            os.close(os.open(self.folder / f"wait-{host}", os.O_WRONLY | os.O_NONBLOCK))

    def begin(self, *arguments):
        """Start the runner; its output goes to a file."""
        self.output = open(self.folder / "output", "wb")  # noqa: SIM115 - closed by the fixture
        command = [
            sys.executable,
            "-B",
            str(HERE / "sliced_run.py"),
            "play.yml",
            "-i",
            "hosts.yml",
            "--slices",
            "2",
            *arguments,
        ]
        environment = playbook_environment(self.folder)
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE), environment["PYTHONPATH"]])
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=self.output, stderr=self.output, start_new_session=True
        )

    def all(self, *arguments):
        """Return the exit code and the output of a run that nobody disturbs."""
        code = self.begin(*arguments).wait()
        return code, self.told()

    def told(self):
        return (self.folder / "output").read_text()

    def log(self):
        """Return what the hosts have written."""
        with suppress(OSError):
            return [tuple(line.split()) for line in (self.folder / "log").read_text().splitlines()]
        return []

    def at_once(self):
        """Return the sets of hosts that were at work at the same time."""
        now, sets = set(), []
        for what, host in self.log():
            now = now | {host} if what == "begin" else now - {host}
            sets.append(now)
        return sets


@pytest.fixture
def sliced(tmp_path):
    made = []

    def make(**options):
        made.append(Sliced(tmp_path, **options))
        return made[0]

    yield make
    for each in made:
        for fifo in tmp_path.glob("wait-*"):
            each.go_on(fifo.name.removeprefix("wait-"))
        each.output.close()


def until(condition):
    """Wait until ``condition`` holds; a test that hangs is ended from outside."""
    while not condition():
        time.sleep(0.05)


def slices_of(runner):
    """Return the processes of ansible-playbook that a runner has started, by slice."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            limit = [word for word in words if word.startswith(b"--limit=@")]
            if parent == runner and limit:
                found[int(limit[0].rpartition(b"-")[2].partition(b".")[0])] = int(path.name)
    return found


def held(place, host):
    return run_lock.read(f"{place.folder}/lock-{host}")


def test_slices_take_turns_by_domain_within_the_budget_under_one_lock_after_those_whose_drivers_change(sliced):
    place = sliced(hosts=6, fleet_serial=2)
    racks = {f"h{number}": f"rack{number % 2}" for number in range(1, 7)}
    hosts = {host: {"rack": rack} for host, rack in racks.items()}
    (place.folder / "more.yml").write_text(json.dumps({"all": {"children": {"tfserving": {"hosts": hosts}}}}))
    place.wait("h1")
    runner = place.begin("-i", "more.yml", "--by", "rack", "-e", '{"drivers": ["h3"]}')
    until(lambda: ("begin", "h1") in place.log())
    # A run that is not sliced took it, before any other began.
    assert place.log()[:2] == [("begin", "h3"), ("end", "h3")]
    # One holder in all parts, and it is the runner.
    assert {held(place, host)["pid"] for host in racks} == {str(runner.pid)}
    place.go_on("h1")
    assert runner.wait() == 0, place.told()
    assert max(map(len, place.at_once())) <= 2
    assert all(len({racks[host] for host in some}) <= 1 for some in place.at_once())
    assert sorted(host for what, host in place.log() if what == "end") == sorted(racks)
    assert "done: 6 (h[1:6])" in place.told()
    assert "slice 1  takes its turn: " in place.told()
    until(lambda: not any(held(place, host) for host in racks))


def test_a_host_that_fails_ends_the_run_everywhere_and_the_report_says_who_is_where(sliced):
    place = sliced(fleet_serial=1)
    (place.folder / "fail-h2").touch()
    code, told = place.all()
    assert code == 2
    begun = [host for what, host in place.log() if what == "begin"]
    assert begun in (["h1", "h2"], ["h2"], ["h1", "h3", "h2"])
    rest = [host for host in ("h3", "h4") if host not in begun]
    assert "failed: 1 (h2)" in told
    assert f"not begun: {len(rest) + ('h1' not in begun)} (" in told
    assert "The run has stopped: slice 2 has failed (h2: non-zero return code)" in told
    assert "h4" not in begun


@at_length
def test_a_slice_that_is_killed_gives_no_tokens_back_and_no_batch_begins_after_it(sliced):
    place = sliced(fleet_serial=2)
    for host in ("h1", "h2"):
        place.wait(host)
    runner = place.begin()
    until(lambda: {("begin", "h1"), ("begin", "h2")} <= set(place.log()))
    os.kill(slices_of(runner.pid)[1], signal.SIGKILL)
    until(lambda: 1 not in slices_of(runner.pid))
    place.go_on("h2")
    assert runner.wait() == 250
    assert {host for _what, host in place.log()} == {"h1", "h2"}
    told = place.told()
    assert "done: 1 (h2)" in told
    assert "begun, not finished: 1 (h1)" in told
    assert "not begun: 2 (h[3:4])" in told
    assert "The run has stopped: slice 1 has failed (it has ended with -9)" in told


def test_an_interrupt_lets_the_batch_end_and_begins_no_other(sliced):
    place = sliced(fleet_serial=1)
    for host in ("h1", "h2"):
        place.wait(host)
    runner = place.begin()
    until(lambda: place.log())
    ((_what, first),) = place.log()
    runner.send_signal(signal.SIGINT)
    until(lambda: "once more ends it now" in place.told())
    place.go_on(first)
    assert runner.wait() == 99
    assert place.log() == [("begin", first), ("end", first)]
    assert f"done: 1 ({first})" in place.told()
    assert not slices_of(runner.pid)


@at_length
def test_a_second_interrupt_ends_what_runs(sliced):
    place = sliced(fleet_serial=1)
    for host in ("h1", "h2"):
        place.wait(host)
    runner = place.begin()
    until(lambda: place.log())
    runner.send_signal(signal.SIGTERM)
    until(lambda: "once more ends it now" in place.told())
    runner.send_signal(signal.SIGTERM)
    assert runner.wait() == 99
    assert len(place.log()) == 1
    assert "begun, not finished: 1" in place.told()


def test_a_runner_that_is_killed_takes_its_slices_along_and_their_locks(sliced):
    place = sliced(fleet_serial=1)
    for host in ("h1", "h2"):
        place.wait(host)
    runner = place.begin()
    until(lambda: place.log())
    slices = slices_of(runner.pid)
    assert set(slices) == {1, 2}
    runner.kill()
    runner.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in slices.values()))
    assert len(place.log()) == 1
    until(lambda: not any(held(place, f"h{number}") for number in range(1, 5)))


@at_length
def test_a_refusal_in_one_slice_ends_all_before_anything_begins(sliced):
    place = sliced(fleet_serial=2)
    other = {"run": "bbbbbbbbbbbb", "who": "bob@there", "playbook": "serve.yml", "since": "2026-01-02 03:04:05 UTC"}
    run_lock.take(f"{place.folder}/lock-h4", other, "", True)
    code, told = place.all()
    assert code == 2
    assert place.log() == []
    assert "h4: bob@there is changing this host (serve.yml, since 2026-01-02 03:04:05 UTC)" in told
    assert "not begun: 3 (h[1:3])" in told
