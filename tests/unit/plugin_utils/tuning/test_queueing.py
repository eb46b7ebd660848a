# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import physics, queueing
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.queueing import Load, Server
from tuning_cases import DOES_NOT_PAY, FIXED_COST, PAYS, curve, site, site_of

ALONE = Server(1, 1, 0.0, 1e9, 1e9, 900.0, 100.0, 1.0, ())


def test_a_lone_request_takes_its_service_time():
    times, refused = queueing.latencies(ALONE, 0.001, 50)
    assert times == pytest.approx([1000.0] * 50)
    assert refused == 0


def test_waiting_follows_the_formula_of_a_queue_with_constant_service():
    # M/D/1 at 70 %: the mean wait is rho / (2 (1 - rho)) service times.
    times, _ = queueing.latencies(ALONE, 700, 60_000)
    wait = sum(times) / len(times) - 1000
    assert wait == pytest.approx(1000 * 0.7 / 0.6, rel=0.1)


def test_a_timeout_is_what_a_lone_request_waits():
    server = dataclasses.replace(ALONE, batch=8, timeout_us=5000.0)
    assert queueing.latencies(server, 0.001, 20)[0] == pytest.approx([6000.0] * 20)


def test_batches_grow_by_themselves_without_a_timeout():
    # Single calls carry 1,000 a second. 10,000 need batches of 19, which take 1.9 ms each.
    server = dataclasses.replace(ALONE, batch=64, fixed_us=950.0, request_us=50.0)
    times, _ = queueing.latencies(server, 10_000, 20_000)
    assert 2000 < sum(times) / len(times) < 4000


def test_a_padded_batch_takes_the_time_of_its_size():
    server = dataclasses.replace(ALONE, batch=8, sizes=(1, 4, 8))
    assert server.us(2) == server.us(4) == 1300.0


def test_a_full_queue_refuses():
    server = dataclasses.replace(ALONE, queue=2.0)
    times, refused = queueing.latencies(server, 5000, 5000)
    assert refused == pytest.approx(4000, rel=0.05)
    assert max(times) <= 3000 + 1e-6


def test_request_threads_cap_what_is_inside():
    server = dataclasses.replace(ALONE, held=2.0)
    times, refused = queueing.latencies(server, 5000, 5000)
    assert refused > 3000
    assert max(times) <= 2000 + 1e-6


def test_a_rate_beyond_the_capacity_is_not_carried():
    place = site()
    assert not queueing.carries(place.planned, place.machine, place.curve, place.load, 1e9)


def test_no_rate_keeps_an_objective_below_the_service_time():
    place = site()
    assert queueing.knee(place.single, place.machine, curve(), Load(1500)) == 0


@pytest.mark.parametrize("server", [PAYS, DOES_NOT_PAY, FIXED_COST])
@pytest.mark.parametrize(("size", "timeout", "threads"), [(0, 0, 0), (8, 0, 4), (64, 0, 2), (32, 2000, 4)])
def test_the_predicted_knee_is_within_15_percent_of_the_simulated_one(server, size, timeout, threads):
    place = site_of(server)
    setting = physics.shaped(place, size, timeout, threads) if size else place.single
    true = server.knee(setting, 0.02, 4000, max(1.0, place.predicted(setting)))
    # What no batch can keep is predicted as such.
    assert place.predicted(setting) == pytest.approx(true, rel=0.15, abs=0.2)
