# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends is answered, and never with an error of Python's: seeded requests of every shape."""

import base64
import http.client
import json

import grpc
import harness
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

SEEDED = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

TYPES = [
    "float32", "float64", "half", "bfloat16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "complex64", "bool", "qint8", "strings", "two_outputs", "constant", "scalar_string", "any_strings",
    "to_strings", "deep_strings", "none",
]  # fmt: skip

integers = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([2**31, -(2**31) - 1, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 10**4000]),
)
floats = st.floats(allow_nan=True, allow_infinity=True)
b64 = st.builds(
    lambda data, cut: {"b64": base64.b64encode(data).decode()[cut:]}, st.binary(max_size=9), st.integers(0, 2)
)
# Surrogates stay: json.dumps writes them as lone escapes.
texts = st.text(max_size=6)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts, b64)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "inputs", "b64", "a"]), inner, max_size=2)
    ),
    max_leaves=8,
)
nested = st.builds(lambda value, depth: _nest(value, depth), scalars, st.sampled_from([1, 2, 33, 65, 255, 2000]))
documents = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.one_of(values, st.lists(values, max_size=3), nested),
        "inputs": st.one_of(values, nested),
        "examples": st.one_of(values, st.lists(st.dictionaries(texts, values, max_size=2), max_size=3)),
        "context": values,
        "signature_name": st.one_of(st.sampled_from(TYPES), st.sampled_from(TYPES), values),
    },
)


def _nest(value, depth):
    for _ in range(depth):
        value = [value]
    return value


def _pieces(value):
    """Lists of any depth, which Python's own encoder refuses."""
    depth = 0
    while isinstance(value, list) and len(value) == 1:
        value, depth = value[0], depth + 1
    yield "[" * depth
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield "," if index else "["
            yield from _pieces(element)
        yield "]" if value else "[]"
    elif isinstance(value, dict):
        yield "{"
        for index, (name, member) in enumerate(value.items()):
            yield f"{',' if index else ''}{json.dumps(name)}:"
            yield from _pieces(member)
        yield "}"
    else:
        yield json.dumps(value)
    yield "]" * depth


def to_json(document):
    return "".join(_pieces(document)).encode()


def post(server, path, body):
    """(status, body) over a connection of its own, which nothing may break."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=harness.PATIENCE)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# No request of these may fail with anything else.
CLIENT_ERRORS = {200, 400, 404, 501}


def check_answer(status, text):
    assert status in CLIENT_ERRORS, text
    assert b"Error:" not in text.replace(b"Error: INVALID_ARGUMENT", b"").replace(b"Error: UNIMPLEMENTED", b"").replace(
        b"Parse error:", b""
    ), text


@SEEDED
@given(document=documents, verb=st.sampled_from(["predict", "predict", "classify", "regress"]))
def test_json_of_any_shape_is_answered(server, document, verb):
    check_answer(*post(server, f"/v1/models/types:{verb}", to_json(document)))


@SEEDED
@given(document=documents, model=st.sampled_from(["echo", "rowsum", "plus", "digits"]), data=st.data())
def test_json_of_any_shape_is_answered_by_other_models(server, document, model, data):
    document = {**document, "signature_name": "serving_default"}
    body = bytearray(to_json(document))
    if body and data.draw(st.booleans()):  # break it somewhere
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    status, text = post(server, f"/v1/models/{model}:predict", bytes(body))
    check_answer(status, text)


sizes = st.one_of(st.integers(-2, 3), st.sampled_from([2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]))
FIELDS = {
    "float_val": floats.filter(lambda value: abs(value) < 3e38 or value != value),
    "double_val": floats,
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
    "half_val": st.integers(-(2**31), 2**31 - 1),
    "bool_val": st.booleans(),
    "string_val": st.binary(max_size=4),
    "scomplex_val": st.floats(width=32),
    "dcomplex_val": floats,
}


@st.composite
def tensor_protos(draw):
    proto = predict_pb2.PredictRequest().inputs["x"]
    proto.dtype = draw(st.one_of(st.sampled_from(list(types_pb2.DataType.values())), st.integers(0, 200)))
    proto.tensor_shape.unknown_rank = draw(st.integers(0, 9)) == 0
    for size in draw(st.lists(sizes, max_size=4)):
        proto.tensor_shape.dim.add(size=size)
    name = draw(st.sampled_from(sorted(FIELDS)))
    getattr(proto, name).extend(draw(st.lists(FIELDS[name], max_size=4)))
    if draw(st.booleans()):
        proto.tensor_content = draw(st.binary(max_size=16))
    return proto


ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}


def check_call(call, request):
    answer = call.future(request, timeout=harness.PATIENCE)
    assert answer.code() in ANSWERS, answer.details()
    assert "Error: " not in (answer.details() or ""), answer.details()


@pytest.fixture
def predict(server):
    return prediction_service_pb2_grpc.PredictionServiceStub(server.channel)


@SEEDED
@given(
    proto=tensor_protos(),
    signature=st.sampled_from(TYPES),
    model=st.sampled_from(["types", "types", "plus", "echo"]),
    name=st.sampled_from(["x", "x", "x", "inputs", "other"]),
    outputs=st.lists(st.sampled_from(["y", "outputs", "none"]), max_size=2),
    as_its_type=st.booleans(),
)
def test_tensors_of_any_shape_are_answered(predict, proto, signature, model, name, outputs, as_its_type):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature if model == "types" else ""
    named = {f"DT_{signature.upper()}", f"DT_{signature.upper().replace('FLOAT32', 'FLOAT').replace('64', '')}"}
    if as_its_type and named & set(types_pb2.DataType.keys()):
        proto.dtype = types_pb2.DataType.Value((named & set(types_pb2.DataType.keys())).pop())
    request.inputs[name].CopyFrom(proto)
    check_call(predict.Predict, request)


@SEEDED
@given(data=st.binary(max_size=40), signature=st.sampled_from(["", *TYPES]), with_context=st.booleans())
def test_examples_of_any_bytes_are_answered(predict, data, signature, with_context):
    """Messages of random fields: what parses is sent to every method."""
    for kind, method in (
        (classification_pb2.ClassificationRequest, predict.Classify),
        (regression_pb2.RegressionRequest, predict.Regress),
        (get_model_metadata_pb2.GetModelMetadataRequest, predict.GetModelMetadata),
        (inference_pb2.MultiInferenceRequest, predict.MultiInference),
    ):
        request = kind()
        try:
            request.MergeFromString(data)
        except Exception:
            request = kind()
        if kind is inference_pb2.MultiInferenceRequest:
            spec = request.tasks.add(method_name="tensorflow/serving/regress").model_spec
        else:
            spec = request.model_spec
        spec.name, spec.signature_name = "types", signature
        if kind is not get_model_metadata_pb2.GetModelMetadataRequest:
            source = request.input.example_list_with_context if with_context else request.input.example_list
            source.examples.add().features.feature["x"].bytes_list.value.append(data)
        check_call(method, request)
