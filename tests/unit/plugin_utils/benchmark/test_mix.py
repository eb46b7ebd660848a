# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The requests of a benchmark: samples, the probe, or made from the signature."""

from __future__ import annotations

import json

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import mix
from benchmark_models import metadata, tensors

PROBE = {"instances": [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]}
METADATA = {"ranker": simulated_team.MODEL}


def requests(probe=None, metadata=METADATA, **given):
    return mix.requests(simulated_team.asked(**given), simulated_team.target(probe=probe or {}), metadata)


def refusal(**given):
    with pytest.raises(WishError) as refused:
        requests(**given)
    return str(refused.value)


def test_requests_are_made_from_the_signature_where_there_is_nothing_else():
    found = requests(items=3)
    assert (found.described["source"], found.described["file"]) == ("generated", None)
    assert found.described["items"] == {"mean": 3, "max": 3}
    assert mix.sentence(found).startswith("16 requests made from the model's signature, 3 items and ")


def test_the_probe_goes_before_made_up_requests():
    found = requests(probe=PROBE)
    assert (found.described["source"], found.described["count"]) == ("probe", 1)
    assert found.described["items"] == {"mean": 2, "max": 2}
    assert mix.sentence(found).startswith("1 request of the model's probe, 2 items and ")


def test_a_probe_is_cut_to_another_size():
    assert requests(probe=PROBE, items=8).described["items"] == {"mean": 8, "max": 8}


def test_samples_go_before_the_probe(tmp_path):
    file = tmp_path / "mine.jsonl"
    lines = [{"model": "ranker", "instances": [{"x": [1.0, 2.0]}] * rows} for rows in (1, 3)]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = requests(probe=PROBE, samples=str(file))
    assert (found.described["source"], found.described["file"]) == ("samples", "mine.jsonl")
    assert found.described["items"] == {"mean": 2, "max": 3}
    assert mix.sentence(found).startswith("2 requests of mine.jsonl, 2 items and ")


def test_other_seeds_make_other_requests():
    assert requests(seed=1).described["digest"] != requests(seed=2).described["digest"]


@pytest.mark.parametrize(("said", "why"), [({}, "nothing"), ({"ranker": "HTTP 404"}, "HTTP 404")])
def test_a_model_that_is_not_described_is_refused(said, why):
    assert refusal(metadata=said) == (
        f"model: the server does not describe ranker ({why}); look at its state with status.yml"
    )


def test_values_that_json_cannot_hold_want_grpc():
    halves = {"ranker": metadata(tensors(x=("DT_HALF", [-1])), tensors(y=("DT_FLOAT", [-1])))}
    assert requests(metadata=halves).described["count"] == 16
    said = refusal(metadata=halves, protocol="rest")
    assert said.startswith("protocol: is rest, and requests of ")
    assert said.endswith(" cannot be written in JSON; use grpc")
