# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Units are stopped for a change and started again, packages are held and let go: exactly those, whatever happened."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import holds
from ansible_collections.tfserving.fleet.plugins.module_utils.host.holds import difference
from ansible_collections.tfserving.fleet.plugins.module_utils.host.pause import Pause
from hypothesis import given
from hypothesis import strategies as st


class Systemd:
    """Remembers which units run; a unit of the name 'broken' cannot be started."""

    def __init__(self, *running):
        self.running = list(running)
        self.calls = []

    def __call__(self, arguments):
        _program, action, *units = arguments
        self.calls.append((action, [unit for unit in units if not unit.startswith("-")]))
        if action == "list-units":
            return 0, "".join(f"{unit} loaded active running\n" for unit in self.running), ""
        if action == "stop":
            self.running = [unit for unit in self.running if unit not in units]
        if action == "start":
            if "broken.service" in units:
                return 1, "", "Job for broken.service failed."
            self.running += units
        return 0, "", ""


@pytest.fixture
def record(tmp_path):
    return str(tmp_path / "folder" / "stopped.json")


def test_only_units_that_run_and_match_are_stopped(record):
    systemd = Systemd("tfserving@a.service", "ssh.service", "tfserving@b.service")
    pause = Pause(systemd, record)
    assert pause.active(["tfserving@*.service", "dcgm.service"]) == ["tfserving@a.service", "tfserving@b.service"]
    pause.stop(pause.active(["tfserving@*.service"]))
    assert systemd.running == ["ssh.service"]


def test_what_was_stopped_is_started_again_in_the_opposite_order(record):
    systemd = Systemd("a.service", "b.service")
    Pause(systemd, record).stop(["a.service", "b.service"])
    Pause(systemd, record).start()
    assert systemd.calls[-1] == ("start", ["b.service", "a.service"])
    assert Pause(systemd, record).remembered() == []


def test_a_run_that_was_killed_leaves_its_units_to_the_next_one(record):
    Pause(Systemd("a.service"), record).stop(["a.service"])
    later = Systemd("b.service")
    Pause(later, record).stop(["b.service"])
    Pause(later, record).start()
    assert later.running == ["b.service", "a.service"]


def test_units_that_do_not_start_stay_remembered(record):
    pause = Pause(Systemd("broken.service"), record)
    pause.stop(["broken.service"])
    with pytest.raises(RuntimeError, match=r"systemctl start broken\.service failed: Job for broken\.service failed\."):
        pause.start()
    assert pause.remembered() == ["broken.service"]


def test_nothing_to_stop_asks_nothing_of_systemd(record):
    systemd = Systemd()
    Pause(systemd, record).stop([])
    Pause(systemd, record).start()
    assert systemd.calls == []


names = st.sets(st.sampled_from("abcdef"))


@given(wanted=names, held=names, ours=names)
def test_holds_of_others_are_neither_lifted_nor_taken_over(wanted, held, ours):
    change = difference(wanted, held, ours)
    after = (held | set(change.hold)) - set(change.release)
    assert wanted <= after
    assert (held - ours) <= after
    assert set(change.ours) <= after
    assert not set(change.ours) & (held - ours)


@given(wanted=names, held=names)
def test_all_own_holds_are_lifted_at_the_end(wanted, held):
    first = difference(wanted, held, [])
    last = difference([], held | set(first.hold), first.ours)
    assert (held | set(first.hold)) - set(last.release) == held
    assert last.ours == []


@given(wanted=names, held=names, ours=names)
def test_a_second_run_changes_no_hold(wanted, held, ours):
    first = difference(wanted, held, ours)
    second = difference(wanted, (held | set(first.hold)) - set(first.release), first.ours)
    assert (second.hold, second.release) == ([], [])


def test_a_record_that_is_damaged_is_refused_in_one_sentence(record, tmp_path):
    Pause(Systemd("a.service"), record).stop(["a.service"])
    (tmp_path / "folder/stopped.json").write_text('["a.serv')
    with pytest.raises(WishError) as refusal:
        Pause(Systemd(), record).start()
    assert str(refusal.value) == f"{record}: is damaged; move it away, and start by hand what is to run"


def test_holds_that_cannot_be_read_are_refused_in_one_sentence(tmp_path):
    ours = holds.record(str(tmp_path), "driver")
    ours.save(["libcuda1"])
    assert ours.load() == ["libcuda1"]
    (tmp_path / "driver.json").write_text('{"libcuda1": true}')
    with pytest.raises(WishError) as refusal:
        ours.load()
    problem = "is damaged; move it away, and lift by hand what is not to stay held"
    assert str(refusal.value) == f"{tmp_path}/driver.json: {problem}"
