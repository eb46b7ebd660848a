# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The workers of several load hosts meet in a folder: one conducts, the others carry out."""

from __future__ import annotations

import os
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.crew import Crew, require_forks
from patience import LONG_S

WITHIN_S = LONG_S


def follow(crew):
    for order in crew.orders(WITHIN_S):
        crew.answer({"did": order["do"], "by": crew.me})


def test_each_worker_carries_out_its_own_orders_in_turn(tmp_path):
    members = ["load-1", "load-2", "load-3"]
    others = [threading.Thread(target=follow, args=[Crew(tmp_path, name, members)]) for name in members[1:]]
    for other in others:
        other.start()
    chief = Crew(tmp_path, "load-1", members)
    assert chief.conducts
    answers = []
    for number in range(3):
        chief.order({name: {"do": f"{number}{name}"} for name in members[1:]})
        answers.append(chief.answers(members[1:], WITHIN_S))
    chief.dismiss()
    for other in others:
        other.join(WITHIN_S)
        assert not other.is_alive()
    assert answers == [
        [{"did": f"{number}load-2", "by": "load-2"}, {"did": f"{number}load-3", "by": "load-3"}] for number in range(3)
    ]


def test_orders_reach_those_who_are_named(tmp_path):
    members = ["load-1", "load-2", "gpu-a"]
    chief = Crew(tmp_path, "load-1", members)
    chief.order({"gpu-a": {"do": "try"}})
    chief.order({"load-2": {"do": "measure"}, "gpu-a": {"do": "end"}})
    chief.dismiss()
    assert list(Crew(tmp_path, "gpu-a", members).orders(0)) == [{"do": "try"}, {"do": "end"}]
    assert list(Crew(tmp_path, "load-2", members).orders(0)) == [{"do": "measure"}]


def test_a_crew_of_one_waits_for_nobody(tmp_path):
    chief = Crew(tmp_path, "localhost", ["localhost"])
    chief.order({})
    assert chief.answers([], 0) == []
    chief.dismiss()


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_a_worker_that_does_not_answer_is_named(tmp_path):
    clock = Clock()
    chief = Crew(tmp_path, "load-1", ["load-1", "load-2"], clock, clock.sleep)
    chief.order({"load-2": {"do": "measure"}})
    with pytest.raises(WishError) as refused:
        chief.answers(["load-2"], 90)
    assert str(refused.value) == ("tfserving_load: load-2 has not answered within 90 s; look at its messages above")


def test_a_worker_without_a_conductor_goes_home(tmp_path):
    clock = Clock()
    assert list(Crew(tmp_path, "load-2", ["load-1", "load-2"], clock, clock.sleep).orders(90)) == []
    assert clock.now > 90


def test_a_worker_stays_with_its_conductor_after_the_end_of_the_run(tmp_path):
    members = ["load-1", "gpu-a"]
    chief = Crew(tmp_path, "load-1", members)
    orders = Crew(tmp_path, "gpu-a", members, is_left=lambda: True).orders(WITHIN_S)
    chief.order({"gpu-a": {"do": "measure"}})
    assert next(orders) == {"do": "measure"}
    last = threading.Timer(0.2, chief.order, [{"gpu-a": {"do": "put back"}}])
    last.start()
    assert next(orders) == {"do": "put back"}


def test_a_worker_goes_home_once_the_process_of_its_conductor_is_gone(tmp_path):
    members = ["load-1", "gpu-a"]
    conductor = os.fork()
    if not conductor:
        Crew(tmp_path, "load-1", members).order({"gpu-a": {"do": "measure"}})
        os._exit(0)
    # A zombie until it is waited for, as those of a busy ansible-playbook are.
    os.waitid(os.P_PID, conductor, os.WEXITED | os.WNOWAIT)
    clock = Clock()
    assert list(Crew(tmp_path, "gpu-a", members, clock, clock.sleep).orders(90)) == [{"do": "measure"}]
    assert clock.now < 1
    os.waitpid(conductor, 0)


def test_a_worker_does_not_wait_for_a_conductor_that_never_came(tmp_path):
    clock = Clock()
    members = ["load-1", "gpu-a"]
    assert list(Crew(tmp_path, "gpu-a", members, clock, clock.sleep, lambda: True).orders(90)) == []
    assert clock.now == 0


def test_load_hosts_must_run_at_the_same_time():
    require_forks(["a", "b"], 2)
    with pytest.raises(WishError) as refused:
        require_forks(["a", "b", "c"], 2)
    assert str(refused.value) == (
        "forks: is 2, and the 3 hosts of tfserving_load have to run at the same time; run with --forks 3"
    )
