# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples and probes become requests; what does not fit a model's signature is refused by line and field."""

from __future__ import annotations

import base64
import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages, replies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import sentences
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import samples
from benchmark_models import DIGITS, RANKER, known, metadata, tensors
from hypothesis import given
from hypothesis import strategies as st
from real_protos import message_class

ROW = {"user": "ann", "age": 40, "features": [0.5, 1]}
MODELS = known()
RANKER_ONLY = known(ranker=RANKER)
DIGITS_ONLY = known(digits=DIGITS)


def of(*lines, models=RANKER_ONLY):
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return samples.of_content("samples.jsonl", content.encode(), models)


def refusals(*lines, models=RANKER_ONLY) -> list[str]:
    with pytest.raises(WishError) as error:
        of(*lines, models=models)
    return sentences(error.value)


def rest(request):
    return json.loads(base64.b64decode(request["rest"]))


def inputs(request):
    return messages.decode_request(base64.b64decode(request["grpc"]))


# --- requests ------------------------------------------------------------------------------------------------


def test_rows_become_bodies_for_both_protocols():
    (request,) = of({"instances": [ROW, {**ROW, "age": 41}], "weight": 2.5})
    assert rest(request) == {"signature_name": "serving_default", "instances": [ROW, {**ROW, "age": 41}]}
    assert inputs(request) == {
        "user": Tensor("DT_STRING", (2,), [b"ann", b"ann"]),
        "age": Tensor("DT_INT32", (2,), [40, 41]),
        "features": Tensor("DT_FLOAT", (2, 2), [0.5, 1.0, 0.5, 1.0]),
    }
    spec = message_class("PredictRequest").FromString(base64.b64decode(request["grpc"])).model_spec
    assert (spec.name, spec.signature_name) == ("ranker", "serving_default")
    assert (request["model"], request["signature"], request["path"]) == (
        "ranker",
        "serving_default",
        "/v1/models/ranker:predict",
    )
    assert (request["items"], request["weight"]) == (2, 2.5)


def test_columns_become_bodies_for_both_protocols():
    columns = {"user": ["ann"], "age": [40], "features": [[0.1, 1]]}
    (request,) = of({"inputs": columns})
    assert rest(request) == {"signature_name": "serving_default", "inputs": columns}
    assert inputs(request)["age"] == Tensor("DT_INT32", (1,), [40])
    assert (request["items"], request["weight"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("sample", "values"),
    [
        ({"instances": [[1, 2], [3, 4]]}, [1, 2, 3, 4]),
        ({"instances": [{"image": [1, 2]}, {"image": [3, 4]}]}, [1, 2, 3, 4]),
        ({"inputs": [[1, 2], [3, 4]]}, [1, 2, 3, 4]),
        ({"inputs": {"image": [[1, 2], [3, 4]]}}, [1, 2, 3, 4]),
    ],
)
def test_a_lone_input_may_stand_without_its_name(sample, values):
    (request,) = of(sample, models=DIGITS_ONLY)
    assert inputs(request) == {"image": Tensor("DT_FLOAT", (2, 2), values)}


def test_bytes_are_given_in_base64():
    row = {**ROW, "user": {"b64": base64.b64encode(b"\xff\xfe").decode()}}
    (request,) = of({"instances": [row]})
    assert inputs(request)["user"].values == [b"\xff\xfe"]
    assert rest(request)["instances"] == [row]


def test_models_are_mixed_by_name_and_weight():
    found = of(
        {"model": "ranker", "instances": [ROW]},
        "",
        {"model": "digits", "instances": [[1, 2]], "weight": 3, "signature": "serving_default"},
        models=MODELS,
    )
    assert [(each["model"], each["weight"]) for each in found] == [("ranker", 1.0), ("digits", 3.0)]


def test_an_input_with_a_default_may_be_left_out():
    answer = metadata(
        tensors(x=("DT_FLOAT", [-1]), k=("DT_INT32", [])), tensors(y=("DT_FLOAT", [-1])), defaults={"k": {}}
    )
    (request,) = of({"inputs": {"x": [1, 2]}}, models=known(m=answer))
    assert set(inputs(request)) == {"x"}


def test_the_name_of_a_model_is_quoted_in_its_path():
    answer = metadata(tensors(x=("DT_FLOAT", [-1])), tensors(y=("DT_FLOAT", [-1])))
    (request,) = of({"inputs": [1]}, models=known(**{"a b/c": answer}))
    assert request["path"] == "/v1/models/a%20b%2Fc:predict"


def test_types_that_json_cannot_hold_go_by_grpc_alone():
    answer = metadata(tensors(x=("DT_HALF", [-1]), c=("DT_COMPLEX64", [-1])), tensors(y=("DT_HALF", [-1])))
    (request,) = of({"inputs": {"x": [1.5], "c": [[1, 2]]}}, models=known(m=answer))
    assert request["rest"] is None
    assert inputs(request) == {"x": Tensor("DT_HALF", (1,), [1.5]), "c": Tensor("DT_COMPLEX64", (1,), [1 + 2j])}


def test_an_unknown_rank_takes_the_shape_of_the_sample():
    answer = metadata(tensors(x=("DT_INT64", None)), tensors(y=("DT_INT64", None)))
    (request,) = of({"inputs": {"x": [[[1], [2]]]}}, models=known(m=answer))
    assert inputs(request)["x"].shape == (1, 2, 1)
    assert request["expect"]["outputs"]["y"] == {"dtype": "DT_INT64", "shape": None, "values": None}


def test_a_file_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"instances": [ROW]}) + "\n")
    assert len(samples.of_file(str(tmp_path / "a.jsonl"), RANKER_ONLY)) == 1


# --- expectations --------------------------------------------------------------------------------------------


def test_every_reply_has_the_types_and_shapes_of_the_signature():
    (request,) = of({"instances": [[1, 2], [3, 4]]}, models=DIGITS_ONLY)
    assert request["expect"] == {
        "tolerance": 1e-3,
        "outputs": {
            "label": {"dtype": "DT_INT64", "shape": [2], "values": None},
            "share": {"dtype": "DT_FLOAT", "shape": [2, 3], "values": None},
        },
    }


def test_an_expected_answer_over_rest_is_checked_over_both_protocols():
    expect = [{"label": 7, "share": [0.5, 0.25, 0.25]}]
    (request,) = of({"instances": [[1, 2]], "expect": expect, "tolerance": 0.1}, models=DIGITS_ONLY)
    assert request["expect"]["tolerance"] == 0.1
    by_rest, by_grpc = (replies.prepare(request["expect"], each) for each in ("rest", "grpc"))
    assert by_rest(json.dumps({"predictions": expect}).encode()) is None
    assert by_rest(json.dumps({"predictions": [{"label": 8, "share": [0.5, 0.25, 0.25]}]}).encode()) == "wrong_reply"
    share = Tensor("DT_FLOAT", (1, 3), [0.55, 0.25, 0.25])
    assert by_grpc(messages.encode_response({"label": Tensor("DT_INT64", (1,), [7]), "share": share})) is None
    assert by_grpc(messages.encode_response({"label": Tensor("DT_INT64", (1,), [6]), "share": share})) == "wrong_reply"


def test_the_expectation_of_columns_may_name_some_outputs():
    (request,) = of({"inputs": [[1, 2]], "expect": {"label": [7]}}, models=DIGITS_ONLY)
    assert [each["values"] for each in request["expect"]["outputs"].values()] == [[7], None]


def test_checks_can_be_left_out():
    (request,) = of({"instances": [ROW], "expect": False})
    assert request["expect"] is None


def test_outputs_that_nobody_can_read_are_not_checked():
    answer = metadata(tensors(x=("DT_FLOAT", [-1])), tensors(y=("DT_VARIANT", [-1])))
    assert of({"inputs": [1]}, models=known(m=answer))[0]["expect"] is None
    assert refusals({"inputs": [1], "expect": [1]}, models=known(m=answer)) == [
        "samples.jsonl line 1, expect: is for outputs of a type that cannot be read; leave it out"
    ]


def test_a_probe_is_a_sample():
    probe = {"instances": [[1, 2]], "signature_name": "serving_default", "expect": [{"label": 7, "share": [1, 0, 0]}]}
    request = samples.of_probe("tfserving_models[0].probe", probe, "digits", MODELS)
    assert request["model"] == "digits"
    assert request["expect"]["outputs"]["label"]["values"] == [7]


def test_a_probe_is_refused_by_its_path():
    with pytest.raises(WishError) as error:
        samples.of_probe("tfserving_models[0].probe", {"instances": [[1, "x"]]}, "digits", MODELS)
    assert str(error.value) == (
        "tfserving_models[0].probe.instances[0][1]: is the string 'x'; give a number within its range (DT_FLOAT)"
    )


# --- refusals ------------------------------------------------------------------------------------------------

REFUSED = [
    ("{", "samples.jsonl line 1: is not JSON (column 2: Expecting property name enclosed in double quotes); "),
    (
        '{"inputs": 1, "inputs": 2}',
        "samples.jsonl line 1: is not JSON (a key comes twice); write one JSON object a line",
    ),
    ("[" * 100_000, "samples.jsonl line 1: is nested too deeply; write one JSON object a line"),
    ("[1]", 'samples.jsonl line 1: is a list; write a JSON object, {"instances": [...]} or {"inputs": {...}}'),
    ({}, "samples.jsonl line 1: has neither instances nor inputs; give one of them"),
    ({"instances": [], "inputs": []}, "samples.jsonl line 1: has both instances and inputs; give one of them"),
    ({"instances": []}, "samples.jsonl line 1, instances: is empty; give a list of at least one row"),
    ({"instances": 3}, "samples.jsonl line 1, instances: is the number 3; give a list of at least one row"),
    ({"instance": []}, "samples.jsonl line 1, instance: is not a key of a sample; did you mean 'instances'?"),
    ({"instances": [ROW], "model": "rankr"}, "line 1, model: is no model of the instance; did you mean 'ranker'?"),
    ({"instances": [ROW], "model": "other"}, "line 1, model: is no model of the instance; give ranker"),
    ({"instances": [ROW], "model": 3}, "line 1, model: is the number 3; give the name of a model"),
    ({"instances": [ROW], "signature": "serving"}, "line 1, signature: is no signature of ranker; did you mean"),
    ({"instances": [ROW], "signature": "x"}, "line 1, signature: is no signature of ranker; give serving_default"),
    ({"instances": [{"user": "a", "features": [1, 2]}]}, "instances[0]: lacks the input age; give it, DT_INT32 [-1]"),
    ({"instances": [{**ROW, "agee": 1}]}, "line 1, instances[0].agee: is no input of ranker; did you mean 'age'?"),
    (
        {"instances": [{**ROW, "zzz": 1}]},
        "instances[0].zzz: is no input of ranker; the inputs of serving_default are age, features and user",
    ),
    ({"instances": [ROW, 5]}, "instances[1]: is the number 5; give a mapping of the inputs age, features and user"),
    ({"inputs": [1]}, "line 1, inputs: is a list; give a mapping of the inputs age, features and user"),
    (
        {"instances": [ROW, {**ROW, "age": "40"}]},
        "line 1, instances[1].age: is the string '40'; give a whole number from -2147483648 to 2147483647 (DT_INT32)",
    ),
    ({"instances": [{**ROW, "age": 2**31}]}, "instances[0].age: is the number 2147483648; give a whole number from"),
    ({"instances": [{**ROW, "age": True}]}, "instances[0].age: is the boolean true; give a whole number from"),
    ({"instances": [{**ROW, "age": 1.5}]}, "instances[0].age: is the fraction 1.5; give a whole number from"),
    ({"instances": [{**ROW, "age": None}]}, "instances[0].age: is nothing; give a whole number from"),
    (
        {"instances": [{**ROW, "user": 5}]},
        'instances[0].user: is the number 5; give a string or {"b64": ...} (DT_STRING)',
    ),
    ({"instances": [{**ROW, "user": {"b64": "?"}}]}, "instances[0].user: is a mapping; give a string or"),
    ({"instances": [{**ROW, "user": {"b64": 5}}]}, "instances[0].user: is a mapping; give a string or"),
    (
        {"instances": [ROW, {**ROW, "features": [1, "2"]}]},
        "line 1, instances[1].features[1]: is the string '2'; give a number within its range (DT_FLOAT)",
    ),
    ({"instances": [{**ROW, "features": [1, 1e39]}]}, "instances[0].features[1]: is the fraction 1e+39; give a number"),
    (
        {"instances": [{**ROW, "features": [1, 2, 3]}]},
        "line 1, instances.features: has the shape [1, 3]; the signature says [-1, 2]",
    ),
    (
        {"instances": [ROW, {**ROW, "features": [1, 2, 3]}]},
        "instances[1].features: has 3 entries where the first of its kind has 2; make the lists equally long",
    ),
    (
        {"instances": [{**ROW, "features": 1}]},
        "instances[0].features: is the number 1 and not a list; give lists of the shape [-1, 2]",
    ),
    ({"instances": [{**ROW, "age": [40]}]}, "instances[0].age: is a list; give a whole number from"),
    (
        {"inputs": {"user": ["a"], "age": 4, "features": [[1, 2]]}},
        "inputs.age: is the number 4 and not a list; give lists of the shape [-1]",
    ),
    (
        {"inputs": {"user": ["a"], "age": [4], "features": [[1, 2, 3]]}},
        "samples.jsonl line 1, inputs.features: has the shape [1, 3]; the signature says [-1, 2]",
    ),
    ({"instances": [ROW], "weight": 0}, "line 1, weight: is the number 0; give a number, more than 0"),
    ({"instances": [ROW], "weight": -1.5}, "line 1, weight: is the fraction -1.5; give a number, more than 0"),
    ({"instances": [ROW], "weight": "2"}, "line 1, weight: is the string '2'; give a number, more than 0"),
    ({"instances": [ROW], "weight": True}, "line 1, weight: is the boolean true; give a number, more than 0"),
    ('{"weight": NaN, "instances": []}', "line 1, weight: is the fraction nan; give a number, more than 0"),
    ({"instances": [ROW], "tolerance": -1}, "line 1, tolerance: is the number -1; give a number, 0 or more"),
    (
        {"instances": [ROW], "expect": 5},
        "line 1, expect: is not what REST answers: its predictions are no list; give the predictions or outputs",
    ),
    (
        {"instances": [ROW], "expect": ["x"]},
        "line 1, expect.scores[0]: is the string 'x'; give a number within its range",
    ),
    ({"instances": [ROW], "expect": [1, 2]}, "line 1, expect.scores: has the shape [2]; the signature says [1]"),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSED)
def test_a_line_that_is_refused_says_where_and_what_was_expected(line, sentence):
    (found,) = refusals(line)
    assert found.startswith("samples.jsonl line 1")
    assert sentence in found


def test_rows_with_different_inputs_are_refused():
    answer = metadata(
        tensors(x=("DT_FLOAT", [-1]), k=("DT_INT32", [-1])), tensors(y=("DT_FLOAT", [-1])), defaults={"k": {}}
    )
    assert refusals({"instances": [{"x": 1, "k": 1}, {"x": 1}]}, models=known(m=answer)) == [
        "samples.jsonl line 1, instances[1]: has the inputs x where the first row has k and x; "
        "give every row the same inputs"
    ]


def test_uneven_lists_of_an_unknown_rank_are_refused():
    models = known(m=metadata(tensors(x=("DT_INT64", None)), tensors(y=("DT_INT64", None))))
    assert refusals({"inputs": {"x": [[1, 2], 3]}}, models=models) == [
        "samples.jsonl line 1, inputs.x[1]: is the number 3 and not a list; give a list"
    ]
    deep = "[" * 300 + "]" * 300
    (sentence,) = refusals(f'{{"inputs": {{"x": {deep}}}}}', models=models)
    assert "inputs.x: is nested too deeply; a tensor has at most 254 dimensions" in sentence


def test_a_type_that_no_request_can_hold_is_refused():
    models = known(m=metadata(tensors(x=("DT_VARIANT", [])), tensors(y=("DT_FLOAT", [-1]))))
    assert refusals({"inputs": {"x": 1}}, models=models) == [
        "samples.jsonl line 1, inputs.x: is for an input of the type DT_VARIANT, which no request can hold; "
        "leave it out"
    ]


def test_an_output_that_is_none_cannot_be_expected():
    (sentence,) = refusals({"inputs": [[1, 2]], "expect": {"class": [7]}}, models=DIGITS_ONLY)
    assert sentence == (
        "samples.jsonl line 1, expect: names class, which is no output; "
        "give the predictions or outputs as REST does, of label and share"
    )


def test_a_line_names_its_model_where_an_instance_has_several():
    assert refusals({"instances": [ROW]}, models=MODELS) == [
        "samples.jsonl line 1: names no model; add model: one of digits and ranker"
    ]


def test_a_signature_without_inputs_is_refused():
    assert refusals({"inputs": []}, models=known(m=metadata({}, tensors(y=("DT_FLOAT", []))))) == [
        "samples.jsonl line 1: is for the signature serving_default, which has no inputs; name another signature"
    ]


def test_all_lines_are_checked_and_told_by_their_numbers():
    found = refusals({"instances": [ROW]}, "", "{", {"instances": [ROW], "weight": 0})
    assert [each.split(":")[0] for each in found] == ["samples.jsonl line 3", "samples.jsonl line 4, weight"]


def test_text_of_a_file_is_made_printable():
    (sentence,) = refusals({"instances": [{**ROW, "\x1b[31m": 1}]})
    assert "\x1b" not in sentence


def test_what_is_not_utf_8_is_refused():
    with pytest.raises(WishError, match=r"samples\.jsonl line 1: is not UTF-8; write one JSON object a line"):
        samples.of_content("samples.jsonl", b'{"inputs": "\xff"}', RANKER_ONLY)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused(content):
    with pytest.raises(WishError, match=r"samples\.jsonl: holds no sample; write one JSON object a line"):
        samples.of_content("samples.jsonl", content, RANKER_ONLY)


def test_what_is_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(samples, "MOST_SAMPLES", 2)
    with pytest.raises(WishError, match=r"samples\.jsonl: has 3 samples; give at most 2"):
        of(*[{"instances": [ROW]}] * 3)
    monkeypatch.setattr(samples, "MOST_LINE_BYTES", 20)
    assert refusals({"instances": [ROW]}) == ["samples.jsonl line 1: is longer than 0 MiB; give a smaller sample"]
    monkeypatch.setattr(samples, "MOST_BYTES", 30)
    with pytest.raises(WishError, match=r"samples\.jsonl: is larger than 0 MiB; give fewer or smaller samples"):
        of({"instances": [ROW]})


def test_bodies_that_are_too_much_are_refused(monkeypatch):
    monkeypatch.setattr(samples, "MOST_BODIES", 100)
    with pytest.raises(WishError) as error:
        of(*[{"instances": [ROW]}] * 3)
    assert str(error.value) == (
        "samples.jsonl: makes requests of 0 MiB, of which 0 MiB are the most; give fewer or smaller samples"
    )


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(WishError, match=r"nowhere: cannot be read \(No such file or directory\); give a file"):
        samples.of_file(str(tmp_path / "nowhere"), RANKER_ONLY)
    with pytest.raises(WishError, match="is not a file; give a file of samples, one JSON object a line"):
        samples.of_file(str(tmp_path), RANKER_ONLY)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WishError, match="pipe: is not a file"):
        samples.of_file(str(tmp_path / "pipe"), RANKER_ONLY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, *samples.OF_SAMPLE]), inner),
    max_leaves=10,
)


def outcome(content: bytes) -> str:
    """Return the refusal of a content, or that there is none."""
    try:
        return f"samples.jsonl has {len(samples.of_content('samples.jsonl', content, RANKER_ONLY))}"
    except WishError as error:
        return str(error)


@given(st.dictionaries(st.sampled_from(samples.OF_SAMPLE), JSON))
def test_any_json_becomes_a_request_or_a_sentence(sample):
    assert outcome(json.dumps(sample).encode()).startswith(("samples.jsonl line 1", "samples.jsonl has 1"))


@given(st.binary(max_size=60))
def test_any_bytes_become_requests_or_sentences(content):
    assert outcome(content).startswith("samples.jsonl")
