# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""gRPC: both services, health, deadlines, the UNIX socket."""

from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tfs_reference import tensors


def predict_request(model, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tensors.to_proto(array))
    return request


def code_of(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, **options)
    return raised.value.code(), raised.value.details()


@pytest.fixture
def predict(server):
    return prediction_service_pb2_grpc.PredictionServiceStub(server.channel)


def floats(*values):
    return np.array(values, np.float32)


def test_predict_answers_tensors_and_the_version_that_gave_them(predict):
    response = predict.Predict(predict_request("plus", x=floats(1, 2)))
    assert list(response.outputs["y"].float_val) == [3.5, 4.0]
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (3, "serving_default")


@pytest.mark.parametrize("signature", ["any_strings", "to_strings", "deep_strings"])
def test_strings_of_too_many_dimensions_are_refused_and_do_not_end_the_server(predict, signature):
    """NumPy's iterators have 32, and the runtime's binding goes on without one."""

    def request(rank):
        array = np.full([1] * rank, 7, np.float32) if signature == "to_strings" else np.full([1] * rank, b"7", object)
        asked = predict_request("types", x=array)
        asked.model_spec.signature_name = signature
        return asked

    if signature != "deep_strings":
        assert len(predict.Predict(request(32)).outputs["y"].tensor_shape.dim) == 32
    assert code_of(predict.Predict, request(1 if signature == "deep_strings" else 33)) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "the reference server cannot hold strings of more than 32 dimensions",
    )
    assert predict.Predict(predict_request("plus", x=floats(1))).outputs["y"].float_val == [3.5]


def test_predict_takes_packed_tensors_labels_and_output_filters(predict):
    request = predict_request("plus")
    request.inputs["x"].CopyFrom(tensors.to_proto(floats(1, 2), as_content=True))
    request.model_spec.version_label = "stable"
    request.output_filter.append("y")
    assert list(predict.Predict(request).outputs["y"].float_val) == [1.5, 2.0]


def test_a_single_value_fills_its_shape(predict):
    request = predict_request("plus", x=floats(4))
    request.inputs["x"].tensor_shape.dim[0].size = 3
    assert list(predict.Predict(request).outputs["y"].float_val) == [5.0, 5.0, 5.0]


def test_wrong_requests_carry_upstreams_codes(predict):
    assert code_of(predict.Predict, predict_request("none", x=floats(1))) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(none)",
    )
    code, details = code_of(predict.Predict, predict_request("plus", z=floats(1)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("Signature input alias: x(feed name: ")
    code, details = code_of(predict.Predict, predict_request("plus"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == (
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."
    )
    request = predict_request("plus", x=floats(1))
    request.model_spec.signature_name = "other"
    assert code_of(predict.Predict, request) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        'Serving signature key "other" not found.',
    )
    request = predict_request("plus", x=floats(1))
    request.output_filter.append("z")
    assert code_of(predict.Predict, request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_a_deadline_ends_the_run(predict):
    request = predict_request("busy", rounds=np.array([10**7], np.int32))
    assert code_of(predict.Predict, request, timeout=0.3)[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_classify_regress_and_multi_inference_agree(predict):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "digits"
    request.model_spec.signature_name = "classify_digits"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.extend([0.5] * 784)
    classes = predict.Classify(request).result.classifications[0].classes
    assert [entry.label for entry in classes] == list("0123456789")

    regression = regression_pb2.RegressionRequest(model_spec=request.model_spec, input=request.input)
    regression.model_spec.signature_name = "regress_digits"
    value = predict.Regress(regression).result.regressions[0].value
    assert value == pytest.approx(sum(int(entry.label) * entry.score for entry in classes), abs=1e-4)

    multi = inference_pb2.MultiInferenceRequest(input=request.input)
    for method in ("classify", "regress"):
        task = multi.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "digits", f"{method}_digits"
    results = predict.MultiInference(multi).results
    assert results[1].regression_result.regressions[0].value == value


def test_metadata_has_the_signatures(predict):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert predict.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["classify_digits"].method_name == "tensorflow/serving/classify"


def test_status_has_all_versions(server):
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "plus"
    assert [entry.version for entry in stub.GetModelStatus(request).model_version_status] == [3, 2, 1]
    request.model_spec.name = "none"
    assert code_of(stub.GetModelStatus, request)[0] == grpc.StatusCode.NOT_FOUND


def test_the_unix_socket_speaks_too(server):
    with grpc.insecure_channel(f"unix:{server.socket_path}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert list(stub.Predict(predict_request("plus", x=floats(0))).outputs["y"].float_val) == [3.0]


@pytest.mark.parametrize(
    ("service", "known"), [("", True), ("PredictionService", True), ("tensorflow.serving.PredictionService", False)]
)
def test_health_knows_the_short_service_names(server, service, known):
    check = server.channel.unary_unary("/grpc.health.v1.Health/Check")
    request = bytes([0x0A, len(service)]) + service.encode()
    if known:
        assert check(request) == b"\x08\x01"
    else:
        assert code_of(check, request)[0] == grpc.StatusCode.NOT_FOUND


def test_grpc_listens_on_all_addresses(server):
    """Asked for 0.0.0.0, the gRPC library binds the wildcard of both families where there is IPv6."""
    tables = [Path(f"/proc/{server.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    assert f"00000000:{server.grpc_port:04X} " in "".join(tables)


def plus_tensor(shape, *values, **fields):
    request = predict_request("plus")
    proto = request.inputs["x"]
    proto.dtype = 1
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    proto.float_val.extend(values)
    for name, value in fields.items():
        setattr(proto, name, value)
    return request


@pytest.mark.parametrize(
    ("values", "answers"),
    [((), [3.0, 3.0]), ((2.0,), [4.0, 4.0]), ((2.0, 4.0, 6.0), [4.0, 5.0])],
)
def test_no_values_stand_for_zeros_one_for_all_and_too_many_are_cut_off(predict, values, answers):
    assert list(predict.Predict(plus_tensor([2], *values)).outputs["y"].float_val) == answers


@pytest.mark.parametrize(
    "shape",
    [[2**40], [-1], [2**62, 4], [2**40, 2**40, 0], [1] * 255, [2**63 - 1]],
    ids=["a terabyte", "negative", "overflow", "overflow before a zero", "too many dimensions", "largest"],
)
def test_a_shape_that_no_tensor_has_is_a_parsing_error_and_takes_no_memory(predict, shape):
    assert code_of(predict.Predict, plus_tensor(shape, 1.0)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "tensor parsing error: x",
    )


def test_content_of_the_wrong_length_and_unreadable_types_are_parsing_errors(predict):
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")
    assert code_of(predict.Predict, plus_tensor([2], tensor_content=b"123")) == expected
    assert code_of(predict.Predict, plus_tensor([1], dtype=0)) == expected
    assert code_of(predict.Predict, plus_tensor([1], dtype=20)) == expected
    unknown = plus_tensor([1])
    unknown.inputs["x"].tensor_shape.unknown_rank = True
    assert code_of(predict.Predict, unknown) == expected


def test_small_integers_are_cut_to_their_bits_and_strings_may_be_packed():
    proto = tensors.to_proto(np.array([0], np.uint8))
    proto.int_val[:] = [300]
    assert tensors.to_array(proto, "x").tolist() == [44]
    packed = tensors.to_proto(np.array([b""], object))
    packed.tensor_shape.dim[0].size = 3
    packed.tensor_content = b"\x01\x00\x02abc"
    assert tensors.to_array(packed, "x").tolist() == [b"a", b"", b"bc"]


def test_complex_numbers_survive_the_way_there_and_back():
    for kind in (np.complex64, np.complex128):
        array = np.array([[1 + 2j, 3 - 4j]], kind)
        assert (tensors.to_array(tensors.to_proto(array), "x") == array).all()


def classify_request(kind, signature, *features):
    """A ClassificationRequest or RegressionRequest for the model of many types."""
    request = kind()
    request.model_spec.name, request.model_spec.signature_name = "types", signature
    for value in features:
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return request


UNFIT = {
    "no inputs": ("constant", "Expected one input Tensor."),
    "no classes": ("strings", "Expected classification signature outputs to contain at least one of "),
    "inputs by another name": ("scalar_string", "No classification inputs found in SignatureDef: "),
    "unknown": ("other", "No signature was found with the name: other"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_signature_unfit_for_classification_is_an_invalid_argument(predict, case):
    signature, message = UNFIT[case]
    code, details = code_of(
        predict.Classify, classify_request(classification_pb2.ClassificationRequest, signature, 1.0)
    )
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(message)


def test_regression_wants_one_output_by_its_name(predict):
    def refusal(signature):
        return code_of(predict.Regress, classify_request(regression_pb2.RegressionRequest, signature, 1.0))

    assert refusal("two_outputs") == (grpc.StatusCode.INVALID_ARGUMENT, "Expected one output Tensor.")
    code, details = refusal("float32")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("No regression inputs found in SignatureDef: ")
    answer = predict.Regress(classify_request(regression_pb2.RegressionRequest, "strings", 1.0))
    assert len(answer.result.regressions) == 1


def multi_request(*tasks, model="digits"):
    """An inference request for a model with (method, signature) pairs, over three examples."""
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = model, signature
    for _ in range(3):
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.extend([0.5] * 784)
    return request


def test_multi_inference_runs_once_and_counts_its_examples_once(server, predict):
    counters = {
        "runs": lambda: server.metric(":tensorflow:core:graph_runs"),
        "examples": lambda: server.metric(":tensorflow:serving:request_example_count_total", model="digits"),
        "requests": lambda: server.metric(":tensorflow:serving:request_example_counts_count", model="digits"),
        "latency": lambda: server.metric(
            ":tensorflow:serving:runtime_latency_count", model_name="digits", API="Classify", runtime="TF1"
        ),
    }
    before = {name: read() for name, read in counters.items()}
    predict.MultiInference(multi_request(("classify", "classify_digits"), ("regress", "regress_digits")))
    assert {name: read() - before[name] for name, read in counters.items()} == {
        "runs": 1, "examples": 3, "requests": 1, "latency": 0,
    }  # fmt: skip


MULTI = {
    "twice": ((("classify", "classify_digits"),) * 2, "Duplicate evaluation of signature: classify_digits"),
    "another method": ((("predict", ""),), "Unsupported signature method_name: tensorflow/serving/predict"),
    "unknown": ((("classify", "other"),), "Requested signature not found in model graph: other"),
    "no task": ((), "ModelSpec has no name specified."),
}  # fmt: skip


@pytest.mark.parametrize("case", MULTI)
def test_multi_inference_refuses_with_upstreams_words(predict, case):
    tasks, message = MULTI[case]
    assert code_of(predict.MultiInference, multi_request(*tasks))[1] == message


def test_a_signature_without_a_name_is_the_default_one(predict):
    results = predict.MultiInference(multi_request(("regress", ""), model="types")).results
    assert (len(results[0].regression_result.regressions), results[0].model_spec.signature_name) == (
        3,
        "serving_default",
    )
    twice = multi_request(("regress", ""), ("regress", "serving_default"), model="types")
    assert code_of(predict.MultiInference, twice)[1] == "Duplicate evaluation of signature: serving_default"


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "GetModelMetadata"])
def test_a_request_without_a_model_is_told_so(predict, method):
    request = {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    }[method]()
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    assert code_of(getattr(predict, method), request) == expected


def test_the_status_of_no_model_is_missing_and_of_a_model_without_a_name_not_found(server):
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    assert code_of(stub.GetModelStatus, request) == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    request.model_spec.SetInParent()
    assert code_of(stub.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find any versions of model ",
    )


def test_a_scalar_string_is_answered(predict):
    request = predict_request("types", x=np.array(b"abc", object))
    request.model_spec.signature_name = "scalar_string"
    assert predict.Predict(request).outputs["y"].string_val == [b"ABC"]


def test_types_that_cannot_be_answered_are_told_and_are_no_internal_error(predict):
    request = predict_request("types")
    request.model_spec.signature_name = "qint8"
    request.inputs["x"].dtype = types_pb2.DT_QINT8
    assert code_of(predict.Predict, request) == (grpc.StatusCode.INVALID_ARGUMENT, "tensor parsing error: x")


def test_long_errors_are_cut_off_and_say_so(predict):
    request = predict_request("plus")
    request.model_spec.name = "n" * 2000
    assert len(code_of(predict.Predict, request)[1]) == 1024 + len("...TRUNCATED")
