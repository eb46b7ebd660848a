# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import climb, neighbours, physics, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.queueing import Load
from tuning_cases import site


def test_baseline_and_plan_come_first():
    place = site()
    found = seeds.seeds(place).found
    assert [seed.origin for seed in found[:2]] == ["default", "plan"]
    assert found[0].setting == place.single
    assert found[1].setting == place.planned
    assert 4 <= len(found) <= 5
    assert len({seed.setting for seed in found}) == len(found)


def test_a_plan_without_batches_is_its_own_baseline():
    found = seeds.seeds(site(batching={"enabled": False})).found
    assert [seed.origin for seed in found][:2] == ["default", "physics"]


def test_physics_keeps_its_own_rules():
    place = site()
    for seed in seeds.seeds(place).found:
        if seed.origin != "physics" or not seed.setting.batches:
            continue
        batches = seed.setting.batches
        run = place.curve.us(batches.max_batch_size)
        assert batches.batch_timeout_micros + run <= 50_000
        assert seed.setting.grpc >= 2 * batches.max_batch_size
        waiting = batches.max_enqueued_batches * run / batches.num_batch_threads
        # Rounded up to a power of two, and a batch that forms counts.
        assert batches.max_enqueued_batches == 2 or waiting < 2 * (50_000 - batches.batch_timeout_micros - run)


def test_with_a_known_load_the_smallest_batch_that_carries_it():
    # Four threads at 70 %: batches of 4 carry 6,666 items a second on them, 70 % of which are 4,666.
    found = seeds.seeds(site(), load=4600).found
    assert found[2].setting.batches.max_batch_size == 4
    assert found[2].why.startswith(
        "4 is the smallest batch for 4600 items a second at 70% use; two of its runs (4.8 ms)"
    )


def test_the_adaptive_seed_has_few_threads_and_no_timeout():
    adaptive = next(seed for seed in seeds.seeds(site()).found if "by themselves" in seed.why)
    assert adaptive.setting.batches.batch_timeout_micros == 0
    assert adaptive.setting.batches.num_batch_threads == 2
    assert adaptive.why == (
        "timeout 0 and 2 batch threads: batches grow by themselves with the load, up to 128, and a lone request never"
        " waits"
    )


def test_where_batches_do_not_pay_one_trial_of_them_is_enough():
    found = seeds.seeds(site(fixed_us=10, item_us=2000)).found
    assert [seed.origin for seed in found] == ["default", "plan", "physics"]


def test_where_no_batch_fits_there_is_no_seed_of_physics():
    found = seeds.seeds(site(fixed_us=30_000, item_us=100)).found
    assert [seed.origin for seed in found[:2]] == ["default", "plan"]
    assert not any("by themselves" in seed.why for seed in found)


def test_what_the_planner_refuses_is_no_seed(monkeypatch):
    monkeypatch.setattr(
        physics, "shaped", lambda place, size, timeout, threads: place.planned.with_batches(num_batch_threads=99)
    )
    found = seeds.seeds(dataclasses.replace(site()))
    assert [seed.origin for seed in found.found] == ["default", "plan"]
    assert "num_batch_threads: is 99" in found.refused[0][1]


def test_requests_of_several_items_take_more_items_a_batch_and_fewer_threads():
    place = site()
    many = dataclasses.replace(place, load=Load(50_000, items=8))
    assert physics.sizes(many)[0] == 16
    assert physics.shaped(many, 64, 0, 4).grpc == place.planned.grpc
    assert physics.shaped(place, 512, 0, 1).grpc == 1025


def test_batches_that_no_request_threads_could_fill_are_left_out():
    assert max(physics.sizes(site(slo_ms=5000, fixed_us=100, item_us=1), runs=1)) == 1024


@pytest.mark.parametrize("batches", [True, False])
def test_neighbours_are_near_and_new(batches):
    place = site()
    middle = physics.shaped(place, 32, 0, 4) if batches else place.single
    found = neighbours.around(place, middle)
    assert middle not in found
    assert len(set(found)) == len(found)
    splits = {(each.intra_op, each.inter_op) for each in found}
    assert splits == {(2, 2), (3, 1), (1, 3)}
    sizes = {each.batches.max_batch_size for each in found if each.batches}
    assert sizes == ({16, 32, 64} if batches else {128})


def test_a_step_goes_to_what_physics_makes_of_the_knees_so_far():
    """What each request turns out to cost makes another size the largest that fits, far from the best so far."""
    place = site(fixed_us=10_400, item_us=8)
    large = physics.shaped(place, 1024, 0, 1)
    assert {seed.setting.batches.max_batch_size for seed in seeds.seeds(place).found[2:]} == {512, 1024}
    known = physics.calibrated(place, place.predicted(place.single), {large: 2_400.0})
    proposed, tried = [], {large}
    while (step := climb.propose(known, [(large, 2_400.0)], tried, 1)) is not None:
        proposed.append(step.batches.max_batch_size)
        tried.add(step)
    assert 64 in proposed
