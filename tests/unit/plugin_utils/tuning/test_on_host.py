# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the measured host is told to try."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import on_host, space
from tuning_cases import context


def plan(batches):
    place = context()
    return place.plan_of(space.Setting(batches, 1, 3, 8, 8))


def test_a_setting_without_batches_is_arguments_alone():
    found = on_host.present(plan(None), "tune-1", 900)
    assert (found["instance"], found["state"], found["owner"]) == ("ranker", "present", "tune-1")
    assert found["files"] == {}
    assert "--tensorflow_inter_op_parallelism=3" in found["arguments"]
    assert not any("batching" in argument for argument in found["arguments"])


def test_batches_come_as_a_file_that_the_arguments_name():
    found = on_host.present(plan(space.Batches(16, 2000, 4, 100)), "tune-1", 900)
    assert "--batching_parameters_file=/run/tfserving-trial/ranker/batching.config" in found["arguments"]
    assert set(found["files"]) == {"batching.config"}
    assert "max_batch_size { value: 16 }" in found["files"]["batching.config"].replace("\n", " ").replace("  ", " ")


def test_the_end_of_a_trial_lies_beyond_its_longest_stage():
    assert on_host.expires_s(75) == 900
    # A stage of ten minutes, six times as long for the best settings.
    assert on_host.expires_s(3615.2) == 7231
    assert on_host.renewed("ranker", "tune-1", 7231) == {
        "instance": "ranker",
        "state": "renewed",
        "owner": "tune-1",
        "expires_s": 7231,
    }


def test_the_way_back_needs_a_name_alone():
    assert on_host.absent("ranker", "tune-1") == {"instance": "ranker", "state": "absent", "owner": "tune-1"}
