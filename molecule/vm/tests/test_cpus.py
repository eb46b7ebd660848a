# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may run where, asked of the kernel."""

from __future__ import annotations

import pytest
from live import HOUSEKEEPING, SERVING, cpus

INSTANCES = ("first", "second")


def test_the_plan_splits_this_machine_as_known_by_hand(live):
    """Two sockets of three cores with two threads: one core of each for the system, the rest serves."""
    assert live.online == set(range(12))
    assert live.housekeeping == {0, 1, 6, 7}
    assert live.serving == {2, 3, 4, 5, 8, 9, 10, 11}
    assert cpus(live.instances["first"]["cpus"]) == {2, 3, 4, 5}
    assert cpus(live.instances["second"]["cpus"]) <= {8, 9, 10, 11}


def test_the_serving_slice_owns_the_serving_cpus(live):
    assert live.granted(SERVING) == live.serving


@pytest.mark.parametrize("group", HOUSEKEEPING)
def test_everything_else_keeps_to_the_housekeeping_cpus(live, group):
    assert live.granted(group) == live.housekeeping


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_is_granted_its_own_cpus(live, name):
    assert live.granted(live.unit(name)["ControlGroup"]) == cpus(live.instances[name]["cpus"])


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_runs_in_the_serving_slice(live, name):
    assert live.unit(name)["ActiveState"] == "active"
    assert live.unit(name)["ControlGroup"].startswith(f"{SERVING}/")


@pytest.mark.parametrize("name", INSTANCES)
def test_no_thread_of_an_instance_leaves_its_cpus(live, name):
    group, threads = live.unit(name)["ControlGroup"], live.instances[name]["threads"]
    assert len(live.threads(group)) > threads["intra_op"] + threads["inter_op"]
    assert live.strays(group, cpus(live.instances[name]["cpus"])) == []


@pytest.mark.parametrize("group", HOUSEKEEPING)
def test_no_thread_of_the_system_may_use_a_serving_cpu(live, group):
    assert live.threads(group), f"nothing runs in {group}, so nothing is shown"
    assert live.strays(group, live.housekeeping) == []


def test_every_process_is_in_one_of_the_slices(live):
    inside = {process["pid"] for group in (SERVING, *HOUSEKEEPING) for process in live.processes(group)}
    outside = [process for process in live.seen["processes"] if process["pid"] not in inside]
    assert outside == []


def test_a_busy_login_never_runs_on_a_serving_cpu(live, stray):
    assert stray["cgroup"].startswith("/user.slice/")
    assert set(stray["ran_on"]) <= live.housekeeping
    # All of them, or the sampling has shown nothing.
    assert len(stray["ran_on"]) >= len(live.housekeeping) - 1


def test_a_login_that_asks_for_the_serving_cpus_is_refused(stray):
    assert stray["refusal"] == "Invalid argument"


def test_no_interrupt_may_go_to_a_serving_cpu(live):
    wandering = {
        number: f"{entry['owner']} may go to {entry['cpus']}"
        for number, entry in live.interrupts().items()
        if not cpus(entry["cpus"]) <= live.housekeeping
    }
    assert wandering == {}


def test_no_interrupt_went_to_a_serving_cpu_while_the_host_was_watched(live):
    taken = {number: live.taken_by(number) for number in live.interrupts()}
    # The card that carries this very connection at least; otherwise the counts have shown nothing.
    assert any(taken.values())
    assert {number: where for number, where in taken.items() if where - live.housekeeping} == {}
