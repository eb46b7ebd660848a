# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of a model's signatures: the contract that callers rely on, and rows that a batch can be made of."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import (
    Signature,
    Tensor,
    departures,
    of_metadata,
    unbatchable,
)

SERVED = {
    "serving_default": Signature(
        inputs={"x": Tensor("DT_FLOAT", (-1, 3)), "n": Tensor("DT_INT64", None)},
        outputs={"y": Tensor("DT_FLOAT", (-1,)), "z": Tensor("DT_STRING", (-1, 2))},
    ),
    "__saved_model_init_op": Signature(outputs={"op": Tensor("DT_INVALID", None)}),
}
BOTH = {"x": {"dtype": "DT_FLOAT", "shape": [-1, 3]}, "n": {}}


@pytest.mark.parametrize(
    "contract",
    [
        {"inputs": BOTH, "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [-1]}}},
        {"signature_name": "serving_default", "inputs": BOTH},
        {"outputs": {"z": {}}},
        {"inputs": {**BOTH, "n": {"dtype": "DT_INT64"}}},
    ],
    ids=["all of it", "by name", "one output", "without a shape"],
)
def test_a_contract_that_a_model_keeps(contract):
    assert departures(contract, SERVED) == ""


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        ({"signature_name": "rank", "outputs": {}}, "it has no signature rank, it has serving_default"),
        ({"inputs": {**BOTH, "x": {"dtype": "DT_INT8"}}}, "input x is DT_FLOAT [-1, 3] and not DT_INT8 [-1, 3]"),
        ({"inputs": {**BOTH, "x": {"shape": [2, 3]}}}, "input x is DT_FLOAT [-1, 3] and not DT_FLOAT [2, 3]"),
        ({"inputs": {**BOTH, "n": {"shape": []}}}, "input n is DT_INT64 of unknown rank and not DT_INT64 []"),
        ({"inputs": {"x": {}}}, "input n is not in the contract, and callers would have to send it"),
        ({"inputs": {**BOTH, "k": {}}}, "input k is missing (its inputs are n, x)"),
        (
            {"inputs": {"x": {}, "n": {}}, "outputs": {"y": {"shape": [1]}, "w": {}}},
            "output y is DT_FLOAT [-1] and not DT_FLOAT [1], output w is missing (its outputs are y, z)",
        ),
    ],
)
def test_a_departure_is_told_in_words(contract, words):
    assert departures(contract, SERVED) == words


def test_an_input_with_a_default_need_not_be_in_the_contract():
    served = {"serving_default": Signature(SERVED["serving_default"].method, dict(x=Tensor("DT_FLOAT", (-1, 3))))}
    served["serving_default"].inputs["seed"] = Tensor("DT_INT64", ())
    served["serving_default"].optional.add("seed")
    assert departures({"inputs": {"x": {}}}, served) == ""


def test_many_departures_and_names_that_act_stay_one_short_line():
    served = {
        "serving_default": Signature(inputs={f"\x1b[31m{at}" + "x" * 500: Tensor("DT_INT8", ()) for at in range(99)})
    }
    words = departures({"inputs": {"a": {}}}, served)
    assert words.endswith(", and 95 more")
    assert words.isprintable()
    assert len(words) < 1000


ROW = Tensor("DT_FLOAT", (-1, 3))


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ({"x": ROW}, {"y": ROW}, ""),
        ({"x": Tensor("DT_STRING", None)}, {"y": Tensor("DT_FLOAT", None)}, ""),
        ({"x": ROW, "n": Tensor("DT_INT64", ())}, {"y": ROW}, "input n of signature serving_default is a scalar"),
        (
            {"x": Tensor("DT_FLOAT", (1, 224, 224, 3))},
            {"y": ROW},
            "input x of signature serving_default has the fixed first dimension 1",
        ),
        ({"x": ROW}, {"y": Tensor("DT_FLOAT", ())}, "output y of signature serving_default is a scalar"),
        ({"x": ROW}, {"y": Tensor("DT_FLOAT", (8,))}, "output y of signature serving_default has the fixed first"),
        ({}, {"y": ROW}, "signature serving_default has no inputs"),
    ],
)
def test_a_batch_needs_rows_on_both_sides(inputs, outputs, words):
    found = unbatchable({"serving_default": Signature(inputs=inputs, outputs=outputs)})
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_the_signature_that_callers_name_is_the_one_that_must_be_batched():
    signatures = {"a": Signature(inputs={"x": ROW}, outputs={"y": ROW}), "b": Signature(inputs={"n": Tensor("T", ())})}
    assert unbatchable(signatures) == unbatchable(signatures, "a") == ""
    assert unbatchable(signatures, "b") == "input n of signature b is a scalar"


ODD = {"dim": [{"size": "x"}, 3]}


def test_a_tensor_without_a_shape_is_of_unknown_rank_and_one_without_dimensions_a_scalar():
    inputs = {"x": {"dtype": "DT_FLOAT"}, "n": {"dtype": "DT_INT8", "tensor_shape": {"dim": [], "unknown_rank": False}}}
    found = of_metadata({"metadata": {"signature_def": {"signature_def": {"a": {"inputs": inputs}}}}})
    assert found["a"].inputs == {"x": Tensor("DT_FLOAT", None), "n": Tensor("DT_INT8", ())}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"metadata": []},
        {"metadata": {"signature_def": {"signature_def": {"a": 5, "b": {"inputs": [1], "outputs": {"y": None}}}}}},
        {"metadata": {"signature_def": {"signature_def": {"a": {"inputs": {"x": {"tensor_shape": ODD}}}}}}},
    ],
    ids=["nothing", "a list", "other kinds", "sizes that are none"],
)
def test_metadata_of_another_shape_are_read_without_harm(metadata):
    assert unbatchable(of_metadata(metadata), "none") == ""
