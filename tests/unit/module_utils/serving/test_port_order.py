# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whoever gives up a port comes before whoever takes it."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.serving.port_order import steps
from hypothesis import given
from hypothesis import strategies as st


def order(held, wanted):
    return list(steps(list(wanted), held, wanted))


def test_where_no_port_moves_the_order_is_the_plans():
    assert order({"b": [2]}, {"b": [2], "a": [1]}) == [("serve", "b"), ("serve", "a")]


def test_one_that_takes_the_port_that_another_leaves_comes_after_it():
    assert order({"a": [1], "b": [2]}, {"a": [2], "b": [3]}) == [("serve", "b"), ("serve", "a")]


def test_a_new_one_comes_after_the_one_whose_port_it_takes():
    assert order({"b": [1]}, {"new": [1], "b": [2]}) == [("serve", "b"), ("serve", "new")]


def test_a_chain_is_taken_from_its_free_end():
    held, wanted = {"a": [1], "b": [2], "c": [3]}, {"a": [2], "b": [3], "c": [4]}
    assert order(held, wanted) == [("serve", "c"), ("serve", "b"), ("serve", "a")]


def test_two_that_swap_need_one_to_stop_first():
    held, wanted = {"a": [1, 11], "b": [2, 12]}, {"a": [2, 12], "b": [1, 11]}
    assert order(held, wanted) == [("stop", "a"), ("serve", "b"), ("serve", "a")]


def test_a_ring_of_three_is_broken_once():
    held, wanted = {"a": [1], "b": [2], "c": [3]}, {"a": [2], "b": [3], "c": [1]}
    assert [deed for deed, _name in order(held, wanted)].count("stop") == 1


def test_ports_that_change_places_within_one_instance_concern_nobody_else():
    assert order({"a": [1, 2]}, {"a": [2, 1], "b": [3]}) == [("serve", "a"), ("serve", "b")]


ports = st.permutations(range(8))


@given(ports, ports)
def test_no_instance_ever_meets_a_port_that_is_still_taken(before, after):
    names = "abcd"
    held = {name: set(before[2 * place : 2 * place + 2]) for place, name in enumerate(names)}
    wanted = {name: set(after[2 * place : 2 * place + 2]) for place, name in enumerate(names)}
    taken, served = dict(held), []
    for deed, name in steps(names, held, wanted):
        taken[name] = set()
        if deed == "serve":
            assert not any(wanted[name] & ports for other, ports in taken.items() if other != name)
            taken[name] = wanted[name]
            served.append(name)
    assert sorted(served) == list(names)
