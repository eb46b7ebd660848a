# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which settings need a restart, which a version of the model, and what says so."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import space, ways
from tuning_cases import context

BATCHES = space.Batches(16, 2000, 4, 100, (8, 16))
RUNNING = space.Setting(BATCHES, 1, 3, 64, 64)
SINGLE = space.Setting(None, 1, 3, 64, 64)
SERVED = {"ranker": [7]}


@pytest.mark.parametrize(
    ("running", "wanted", "how", "why"),
    [
        (RUNNING, RUNNING, "kept", "the same settings run"),
        (None, RUNNING, "restart", "no trial is in force"),
        (RUNNING, RUNNING.with_batches(max_batch_size=32), "version", "max_batch_size alone differs"),
        (RUNNING, RUNNING.with_batches(batch_timeout_micros=0), "version", "batch_timeout_micros alone differs"),
        (RUNNING, RUNNING.with_batches(max_enqueued_batches=5), "version", "max_enqueued_batches alone differs"),
        (RUNNING, RUNNING.with_batches(allowed_batch_sizes=()), "version", "allowed_batch_sizes alone differs"),
        (
            RUNNING,
            RUNNING.with_batches(max_batch_size=32, batch_timeout_micros=0),
            "version",
            "max_batch_size and batch_timeout_micros alone differ",
        ),
        (
            RUNNING,
            RUNNING.with_batches(max_batch_size=32, num_batch_threads=2),
            "restart",
            "num_batch_threads cannot differ between versions",
        ),
        (
            RUNNING,
            space.Setting(BATCHES, 2, 2, 64, 64),
            "restart",
            "intra_op threads and inter_op threads cannot differ between versions",
        ),
        (RUNNING, SINGLE, "restart", "batching is switched on or off"),
        (SINGLE, RUNNING, "restart", "batching is switched on or off"),
    ],
)
def test_the_way_from_what_runs_to_what_is_wanted(running, wanted, how, why):
    assert ways.way(running, wanted) == (how, why)


def test_an_instance_that_takes_no_versions_is_restarted_but_for_the_same_settings():
    wanted = RUNNING.with_batches(max_batch_size=32)
    assert ways.way(RUNNING, wanted, "server 2.10.1 is old") == ("restart", "server 2.10.1 is old")
    assert ways.way(RUNNING, RUNNING, "server 2.10.1 is old").how == "kept"


def changed(**plan):
    return {**context().planned(), **plan}


def flagged(**flags):
    return changed(flags={**context().planned()["flags"], **flags})


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2.10.1", "server 2.10.1 does not read batching_params.pbtxt"),
        ("2.11.0", ""),
        ("2.19.1", ""),
    ],
)
def test_servers_read_the_file_of_a_version_since_2_11(version, reason):
    assert ways.obstacle(changed(server={"version": version}), SERVED) == reason


@pytest.mark.parametrize(
    ("plan", "served", "reason"),
    [
        (
            flagged(enable_per_model_batching_parameters=True),
            SERVED,
            "enable_per_model_batching_parameters is set in the inventory",
        ),
        (
            flagged(file_system_poll_wait_seconds=0),
            SERVED,
            "file_system_poll_wait_seconds keeps the server from looking for versions",
        ),
        (changed(swap={"ranker": "drain"}), SERVED, "the memory does not hold two versions of ranker"),
        (changed(), {"ranker": [6, 7]}, "ranker does not serve exactly one version"),
        (changed(), {}, "ranker does not serve exactly one version"),
        (
            changed(
                model_config={"model_config_list": {"config": [{"name": "ranker", "version_labels": {"stable": 7}}]}}
            ),
            SERVED,
            "ranker has labels, which a version of a trial would not have",
        ),
        (changed(models=[f"m{number}" for number in range(65)]), SERVED, "the instance has more than 64 models"),
    ],
)
def test_what_keeps_an_instance_from_versions(plan, served, reason):
    assert ways.obstacle(plan, served) == reason


@pytest.mark.parametrize(
    ("tried", "words"),
    [
        ({}, "a restart"),
        ({"tried_by": "restart", "why": "no trial is in force"}, "a restart (no trial is in force)"),
        ({"tried_by": "version", "why": "x alone differs"}, "a version of the model (x alone differs)"),
        ({"tried_by": "kept", "why": "the same settings run"}, "what runs (the same settings run)"),
    ],
)
def test_the_progress_says_how(tried, words):
    assert ways.phrase(tried) == words
