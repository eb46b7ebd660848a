# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import physics
from tuning_cases import site

# What calls of one request tell, and servers at work: as told; each request 400 us of its own; twice as fast; both.
TOLD = site(fixed_us=2000, item_us=100)
AT_WORK = {
    "as told": site(fixed_us=2000, item_us=100),
    "own cost": site(fixed_us=1600, item_us=500),
    "faster": site(fixed_us=1000, item_us=50),
    "faster, own cost": site(fixed_us=800, item_us=250),
}


def known(truth):
    return calibrated(TOLD, truth.predicted(truth.single), truth.predicted(truth.planned))


def calibrated(place, single, planned):
    return physics.calibrated(place, single, {place.planned: planned})


@pytest.mark.parametrize("name", AT_WORK)
@pytest.mark.parametrize(("size", "timeout", "threads"), [(8, 0, 4), (32, 0, 2), (64, 2500, 4)])
def test_two_knees_tell_how_a_server_at_work_differs_from_an_idle_one(name, size, timeout, threads):
    truth = AT_WORK[name]
    setting = physics.shaped(TOLD, size, timeout, threads)
    assert known(truth).predicted(setting) == pytest.approx(truth.predicted(setting), rel=0.2)


def test_the_knees_are_those_that_it_was_calibrated_by():
    truth = AT_WORK["faster, own cost"]
    for setting in (TOLD.single, TOLD.planned):
        assert known(truth).predicted(setting) == pytest.approx(truth.predicted(setting), rel=physics.GOOD)


def test_a_good_prediction_changes_nothing():
    single, planned = TOLD.predicted(TOLD.single), TOLD.predicted(TOLD.planned)
    assert calibrated(TOLD, 0.9 * single, 0.9 * planned) is TOLD
    assert calibrated(TOLD, 0.0, 0.0) is TOLD


def test_a_server_that_is_slower_at_work_is_left_to_be_scaled():
    """Longer calls might not fit in the objective at all, and no prediction would be left."""
    assert calibrated(TOLD, 0.5 * TOLD.predicted(TOLD.single), 0.5 * TOLD.predicted(TOLD.planned)) is TOLD
    place = site(fixed_us=2000, item_us=40_000)
    assert calibrated(place, 0.5 * place.predicted(place.single), 0.0) is place


def test_the_knee_of_any_batches_tells_of_the_own_cost():
    """That of small ones may hide it, for example where requests are read while a device works."""
    truth = AT_WORK["own cost"]
    large = physics.shaped(TOLD, 64, 0, 4)
    knees = {TOLD.planned: TOLD.predicted(TOLD.planned), large: truth.predicted(large)}
    found = physics.calibrated(TOLD, TOLD.predicted(TOLD.single), knees)
    assert found.predicted(large) == pytest.approx(truth.predicted(large), rel=physics.GOOD)


def test_no_request_costs_more_of_its_own_than_a_call_of_one():
    found = calibrated(TOLD, TOLD.predicted(TOLD.single), 1.0)
    assert found.curve.a == 0
    assert found.curve.us(1) == pytest.approx(TOLD.curve.us(1))


def test_a_plan_without_batches_tells_nothing_of_them():
    place = site(batching={"enabled": False})
    assert calibrated(place, place.predicted(place.single), 1.0) is place


def test_the_queue_is_rounded_up_and_holds_a_batch_beside_the_one_that_forms():
    # (50 - 2.4) ms behind 4 threads leave 79 batches of 4; (50 - 33.2) ms one thread half a batch of 312.
    assert physics.shaped(TOLD, 4, 0, 4).batches.max_enqueued_batches == 128
    assert physics.shaped(TOLD, 312, 0, 1).batches.max_enqueued_batches == 2
