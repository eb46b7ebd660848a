# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests made up from a signature, described, and cut to other numbers of items."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages, replies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import requests, samples
from benchmark_models import DIGITS, FIXED, RANKER, known, metadata, tensors
from real_protos import message_class

RANKER_ONLY = known(ranker=RANKER)
DIGITS_ONLY = known(digits=DIGITS)


def inputs(request):
    return messages.decode_request(base64.b64decode(request["grpc"]))


def rest(request):
    return json.loads(base64.b64decode(request["rest"]))


def sampled(*lines, models=DIGITS_ONLY):
    return samples.of_content("s", "\n".join(map(json.dumps, lines)).encode(), models)


# --- made up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", messages.DTYPES)
def test_there_is_a_request_of_every_type(dtype):
    models = known(m=metadata(tensors(x=(dtype, [-1, 2])), tensors(y=(dtype, [-1]))))
    (request,) = requests.generated(models, "m", items=3, count=1)
    found = inputs(request)["x"]
    assert (found.dtype, found.shape, len(found.values)) == (dtype, (3, 2), 6)
    assert message_class("PredictRequest").FromString(base64.b64decode(request["grpc"])).inputs["x"].dtype
    assert (request["rest"] is None) == (dtype in ("DT_HALF", "DT_BFLOAT16", "DT_UINT16", *messages.COMPLEX))
    assert request["expect"]["outputs"] == {"y": {"dtype": dtype, "shape": [3], "values": None}}


def test_values_are_of_a_sensible_size():
    wide = tensors(
        f=("DT_FLOAT", [-1]), i=("DT_INT64", [-1]), u=("DT_UINT8", [-1]), s=("DT_STRING", [-1]), b=("DT_BOOL", [-1])
    )
    found = inputs(requests.generated(known(m=metadata(wide, wide)), "m", items=200, count=1)[0])
    assert all(0 <= value < 1 for value in found["f"].values)
    assert len(set(found["f"].values)) > 150
    assert set(found["i"].values) == set(found["u"].values) == set(range(10))
    assert all(len(value) == 8 and value.isalpha() for value in found["s"].values)
    assert set(found["b"].values) == {True, False}


def test_the_same_seed_gives_the_same_requests_and_another_one_others():
    first, again, other = (requests.generated(RANKER_ONLY, "ranker", items=4, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert len({request["grpc"] for request in [*first, *other]}) == 32


def test_rows_go_over_rest_as_rows_and_all_else_as_columns():
    assert len(rest(requests.generated(RANKER_ONLY, "ranker", items=4)[0])["instances"]) == 4
    fixed = rest(requests.generated(known(m=FIXED), "m", count=1)[0])
    assert set(fixed) == {"signature_name", "inputs"}
    assert fixed["signature_name"] == "fixed"


def test_open_sizes_within_a_row_become_the_wished_one():
    models = known(
        m=metadata(tensors(x=("DT_FLOAT", [-1, -1, 3]), z=("DT_INT32", None)), tensors(y=("DT_FLOAT", [-1])))
    )
    found = inputs(requests.generated(models, "m", items=2, count=1, inner=5)[0])
    assert (found["x"].shape, found["z"].shape) == ((2, 5, 3), (2,))


def test_a_model_of_fixed_size_gets_its_size_and_any_reply_of_its_shape():
    (request,) = requests.generated(known(m=FIXED), "m", count=1)
    assert inputs(request)["x"].shape == (2, 2)
    assert (request["items"], request["expect"]["outputs"]["y"]["shape"]) == (2, [3])


@pytest.mark.parametrize(
    ("answer", "items", "sentence"),
    [
        (FIXED, 3, "m.x: has the shape [2, 2], so no request holds 3 items; give items: 1, or a file of samples"),
        (
            metadata(tensors(x=("DT_FLOAT", [])), tensors(y=("DT_FLOAT", [-1]))),
            2,
            "m.x: has the shape [], so no request holds 2 items; give items: 1, or a file of samples",
        ),
        (
            metadata(tensors(x=("DT_RESOURCE", [-1])), tensors(y=("DT_FLOAT", [-1]))),
            1,
            "m.x: is of the type DT_RESOURCE, which no request can hold; give a file of samples that leave it out",
        ),
        (
            metadata(tensors(x=("DT_FLOAT", [-1, 1000, 1000])), tensors(y=("DT_FLOAT", [-1]))),
            2,
            "m: would get requests of 2000000 values, of which 1000000 are the most; "
            "give fewer items, or a file of samples",
        ),
        (
            metadata(tensors(x=("DT_FLOAT", [1] * 255)), tensors(y=("DT_FLOAT", [-1]))),
            1,
            "m.x: has 255 dimensions, more than a tensor can have; correct the model",
        ),
    ],
)
def test_a_signature_that_allows_no_such_request_is_refused(answer, items, sentence):
    with pytest.raises(WishError) as error:
        requests.generated(known(m=answer), "m", items=items)
    assert str(error.value) == sentence


def test_an_unknown_model_or_signature_is_refused():
    with pytest.raises(WishError, match="is no model of the instance; did you mean 'ranker'"):
        requests.generated(RANKER_ONLY, "rankers")
    with pytest.raises(WishError, match="is no signature of ranker; give serving_default"):
        requests.generated(RANKER_ONLY, "ranker", signature="x")


# --- a model without samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [None, False, {}, {"signature_name": "serving_default"}])
def test_a_model_without_a_probe_gets_made_up_requests(probe):
    source, found = requests.of_model("p", DIGITS_ONLY, "digits", probe, items=4, seed=2)
    assert source == "generated"
    assert found == requests.generated(DIGITS_ONLY, "digits", items=4, seed=2)


@pytest.mark.parametrize(("items", "rows"), [(None, 1), (3, 3)])
def test_a_probe_is_sent_as_it_is_or_with_other_rows(items, rows):
    source, (request,) = requests.of_model("p", DIGITS_ONLY, "digits", {"instances": [[1, 2]]}, items)
    assert (source, request["items"]) == ("probe", rows)
    assert inputs(request)["image"].values == [1, 2] * rows


# --- description ---------------------------------------------------------------------------------------------


def test_a_mix_is_described_by_its_weights():
    mix = sampled({"instances": [[1, 2]], "weight": 3}, {"instances": [[1, 2]] * 5})
    found = requests.describe(mix, "grpc", "samples", "mix.jsonl")
    small, large = (len(base64.b64decode(each["grpc"])) for each in mix)
    assert found["items"] == {"mean": 2.0, "max": 5}
    assert found["bytes"] == {"mean": round((3 * small + large) / 4, 2), "max": large}
    assert (found["source"], found["file"], found["count"]) == ("samples", "mix.jsonl", 2)
    over_rest = requests.describe(mix, "rest", "samples", "mix.jsonl")
    assert over_rest["bytes"]["max"] == len(base64.b64decode(mix[1]["rest"]))
    assert over_rest["digest"] == found["digest"]


def test_the_digest_tells_other_requests():
    one, other = ([sampled({"instances": [[1, 2]], "weight": weight})[0]] for weight in (1, 2))
    digests = {requests.describe(each, "grpc", "samples")["digest"] for each in (one, other, one + other)}
    assert len(digests) == 3
    assert all(len(each) == 64 for each in digests)


def test_the_model_that_rest_cannot_carry_is_named():
    models = known(m=metadata(tensors(x=("DT_HALF", [-1])), tensors(y=("DT_HALF", [-1]))))
    assert requests.without_rest(requests.generated(models, "m")) == "m"
    assert requests.without_rest(requests.generated(RANKER_ONLY, "ranker")) == ""


def test_a_load_host_gets_the_bodies_of_one_protocol():
    (held,) = sampled({"instances": [[1, 2]]})
    assert requests.carried([held], "grpc") == [{**held, "rest": None}]
    assert requests.carried([held], "rest") == [{**held, "grpc": None}]


# --- other sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "rows"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 3, 1, 2])])
def test_rows_are_cut_or_repeated_in_their_order(items, rows):
    held = [{"user": f"u{n}", "age": n, "features": [n, 0.1]} for n in (1, 2, 3)]
    (request,) = requests.scaled(sampled({"instances": held, "weight": 2}, models=RANKER_ONLY), items)
    assert inputs(request)["age"] == Tensor("DT_INT32", (items,), rows)
    assert rest(request)["instances"] == [held[n - 1] for n in rows]
    assert (request["items"], request["weight"], request["model"]) == (items, 2.0, "ranker")
    assert request["expect"]["outputs"]["scores"]["shape"] == [items]


def test_columns_stay_columns():
    (request,) = requests.scaled(sampled({"inputs": {"image": [[1, 2]]}}), 2)
    assert rest(request)["inputs"] == {"image": [[1, 2], [1, 2]]}


def test_what_is_expected_is_cut_and_repeated_like_the_rows():
    expect = [{"label": 1, "share": [1, 0, 0]}, {"label": 2, "share": [0, 1, 0]}]
    (request,) = requests.scaled(sampled({"instances": [[1, 2], [3, 4]], "expect": expect}), 3)
    check = replies.prepare(request["expect"], "rest")
    assert check(json.dumps({"predictions": [*expect, expect[0]]}).encode()) is None
    assert check(json.dumps({"predictions": [*expect, expect[1]]}).encode()) == "wrong_reply"
    assert check(json.dumps({"predictions": expect}).encode()) == "wrong_reply"


def test_of_outputs_that_are_not_rows_only_the_shape_is_expected():
    models = known(m=metadata(tensors(x=("DT_FLOAT", [-1])), tensors(y=("DT_FLOAT", [-1]), total=("DT_FLOAT", []))))
    found = sampled({"inputs": {"x": [1, 2]}, "expect": {"y": [1, 2], "total": 3}}, models=models)
    outputs = requests.scaled(found, 4)[0]["expect"]["outputs"]
    assert outputs["y"] == {"dtype": "DT_FLOAT", "shape": [-1], "values": None}
    assert outputs["total"] == {"dtype": "DT_FLOAT", "shape": [], "values": None}


def test_requests_without_checks_stay_without():
    assert requests.scaled(sampled({"instances": [[1, 2]], "expect": False}), 2)[0]["expect"] is None


@pytest.mark.parametrize(
    "sample", [{"inputs": {"x": [1, 2], "k": 3}}, {"inputs": {"x": [1, 2], "k": [1]}}, {"inputs": {"x": [], "k": []}}]
)
def test_requests_that_are_not_made_of_rows_are_refused(sample):
    shape = [] if sample["inputs"]["k"] == 3 else [-1]
    models = known(m=metadata(tensors(x=("DT_FLOAT", [-1]), k=("DT_INT32", shape)), tensors(y=("DT_FLOAT", [-1]))))
    with pytest.raises(WishError) as error:
        requests.scaled(sampled(sample, models=models), 2)
    assert str(error.value) == (
        "m: takes inputs without a common first dimension, so its requests cannot be cut into items; "
        "give samples whose inputs all have one row for each item"
    )
