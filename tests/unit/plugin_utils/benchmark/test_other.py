# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The other instance of a comparison gets the same requests, or is refused."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import bodies, other, samples
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.signature import known
from benchmark_models import metadata, tensors

X, Y = tensors(x=("DT_FLOAT", [-1])), tensors(y=("DT_FLOAT", [-1]))
DESCRIBED = {"ranker": metadata(X, Y)}
TARGET = {"name": "gpu-a", "instance": "ranker", "model": "ranker", "models": ["ranker"]}
PROBE = {"instances": [1.5, 2.5], "expect": [3.0, 5.0]}


def sent(described=DESCRIBED, model="ranker"):
    return [samples.of_probe("probe", PROBE, model, known(described))]


def rival(*models):
    return {"name": "gpu-b", "instance": "next", "model": models[0], "models": list(models)}


def requests(models, described):
    return other.requests(sent(), TARGET, rival(*models), DESCRIBED, described)


def test_a_model_of_the_same_name_gets_the_very_requests():
    described = {"extra": metadata({}, Y), "ranker": metadata(X, Y)}
    assert requests(["extra", "ranker"], described) == sent()
    assert other.model_of(TARGET, rival("extra", "ranker")) == "ranker"


def test_a_model_of_another_name_gets_the_same_inputs():
    (found,) = requests(["small"], {"small": metadata(X, Y)})
    (first,) = sent()
    assert (found["model"], found["path"], found["signature"]) == (
        "small",
        "/v1/models/small:predict",
        first["signature"],
    )
    assert bodies.inputs_of(found) == bodies.inputs_of(first)
    assert base64.b64decode(found["rest"]) == base64.b64decode(first["rest"])
    assert json.loads(base64.b64decode(found["rest"]))["instances"] == [{"x": 1.5}, {"x": 2.5}]
    # Another model may answer other values, of the same types and shapes.
    assert first["expect"]["outputs"]["y"]["values"] == [3.0, 5.0]
    assert found["expect"] == {
        **first["expect"],
        "outputs": {"y": {**first["expect"]["outputs"]["y"], "values": None}},
    }


@pytest.mark.parametrize(
    ("models", "described", "problem"),
    [
        (
            ["ranker"],
            {"ranker": metadata(tensors(x=("DT_FLOAT", [-1, 3])), Y)},
            "has the input x of serving_default of ranker as DT_FLOAT [-1, 3], not DT_FLOAT [-1]",
        ),
        (
            ["ranker"],
            {"ranker": metadata({**X, **tensors(z=("DT_FLOAT", [-1]))}, Y)},
            "has the input z of serving_default of ranker as DT_FLOAT [-1], not none",
        ),
        (
            ["small"],
            {"small": metadata(X, tensors(score=("DT_FLOAT", [-1])))},
            "has the output score of serving_default of small as DT_FLOAT [-1], not none",
        ),
        (["small"], {"small": "HTTP 404"}, "does not describe the model small"),
        (
            ["small"],
            {"small": {"metadata": {"signature_def": {"signature_def": {}}}}},
            "has no signature serving_default of small",
        ),
    ],
)
def test_an_instance_that_takes_other_requests_is_refused(models, described, problem):
    with pytest.raises(WishError) as refused:
        requests(models, described)
    assert str(refused.value) == (
        f"against: next on gpu-b {problem}; name an instance whose model has the same signature"
    )


def test_of_several_models_each_must_be_there():
    described = {**DESCRIBED, "digits": metadata(X, Y)}
    both = [*sent(), *sent(described, "digits")]
    target = {**TARGET, "models": ["ranker", "digits"]}
    found = other.requests(both, target, rival("small", "digits"), described, {"small": metadata(X, Y), **described})
    assert [each["model"] for each in found] == ["small", "digits"]
    with pytest.raises(WishError, match=r"^against: next on gpu-b does not describe the model digits; "):
        other.requests(both, target, rival("small"), described, {"small": metadata(X, Y)})
