# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""REST: paths, shapes, number formats, error codes."""

import base64
import gzip
import json
import math
import socket

import harness
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from test_grpc import predict_request
from tfs_reference import json_response, tensors
from tfs_reference.status import StatusError

PLUS = "/v1/models/plus"


def error(answer):
    status, body = answer
    return status, json.loads(body)["error"] if isinstance(body, str) else body["error"]


def test_row_form_answers_predictions(server):
    assert server.http(f"{PLUS}:predict", {"instances": [1.0, 2.0]}) == (
        200,
        '{\n    "predictions": [3.5, 4.0\n    ]\n}',
    )


def test_column_form_answers_outputs(server):
    assert server.http(f"{PLUS}:predict", {"inputs": [1.0, 2.0]}) == (
        200,
        '{\n    "outputs": [\n        3.5,\n        4.0\n    ]\n}',
    )


@pytest.mark.parametrize(
    ("path", "answer"),
    [("", 3.0), ("/versions/1", 1.0), ("/versions/2", 2.0), ("/labels/stable", 1.0), ("/labels/canary", 3.0)],
)
def test_a_version_is_chosen_by_number_label_or_as_the_latest(server, path, answer):
    assert server.json(f"{PLUS}{path}:predict", {"instances": [0.0]}) == (200, {"predictions": [answer]})


def test_paths_are_matched_in_any_letter_case_and_percent_decoded(server):
    assert server.json("/V1/Models/pl%75s:PREDICT", {"instances": [0]}) == (200, {"predictions": [3.0]})


def test_several_inputs_come_as_objects_and_several_outputs_go_as_objects(server):
    row = {"text": "a", "number": 2**53 + 1, "flag": True}
    expected = {"text": "A", "text_bytes": {"b64": base64.b64encode(b"a").decode()}, "number": 2**53 + 1, "flag": False}
    assert server.predict("echo", {"instances": [row, row]}) == (200, {"predictions": [expected, expected]})
    columns = {"text": ["a", "b"], "number": [1, 2], "flag": [True, False]}
    status, answer = server.predict("echo", {"inputs": columns})
    assert status == 200
    assert answer["outputs"]["text"] == ["A", "B"]
    assert answer["outputs"]["flag"] == [False, True]


def test_strings_may_come_in_base64(server):
    row = {"text": {"b64": base64.b64encode(b"\xff\x00").decode()}, "number": 1, "flag": True}
    _, answer = server.predict("echo", {"instances": [row]})
    assert base64.b64decode(answer["predictions"][0]["text_bytes"]["b64"]) == b"\xff\x00"


def test_digits_answers_what_its_known_answers_say(server, models):
    known = json.loads((models / "digits" / "known_answers.json").read_text())
    status, answer = server.predict("digits", known["request"])
    assert status == 200
    expected = known["answers"]["2"]["predictions"]
    for row, wanted in zip(answer["predictions"], expected, strict=True):
        assert row["class_id"] == wanted["class_id"]
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert answer["predictions"][0]["probabilities"] != pytest.approx(
        known["answers"]["1"]["predictions"][0]["probabilities"], abs=1e-3
    )


def test_classify_answers_labels_with_scores_and_regress_numbers(server):
    example = {"x": [i / 1024 for i in range(784)]}
    body = {"signature_name": "classify_digits", "examples": [example, example]}
    status, answer = server.json("/v1/models/digits:classify", body)
    assert status == 200
    assert [label for label, _ in answer["results"][0]] == list("0123456789")
    assert sum(score for _, score in answer["results"][1]) == pytest.approx(1, abs=1e-5)
    scores = dict(answer["results"][0])
    body["signature_name"] = "regress_digits"
    status, answer = server.json("/v1/models/digits:regress", body)
    mean = sum(int(label) * score for label, score in scores.items())
    assert answer["results"] == pytest.approx([mean, mean], abs=1e-4)


def test_a_context_fills_what_the_examples_leave_out(server):
    pixels = {"x": [0.5] * 784}
    plain = server.json("/v1/models/digits:classify", {"signature_name": "classify_digits", "examples": [pixels]})
    with_context = server.json(
        "/v1/models/digits:classify", {"signature_name": "classify_digits", "context": pixels, "examples": [{}]}
    )
    assert plain == with_context


def test_status_lists_versions_from_the_highest_as_text(server):
    _, answer = server.json(PLUS)
    assert [entry["version"] for entry in answer["model_version_status"]] == ["3", "2", "1"]
    assert answer["model_version_status"][0] == {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


def test_status_of_one_version_lists_that_and_a_label_is_not_used(server):
    assert len(server.json(f"{PLUS}/versions/2")[1]["model_version_status"]) == 1
    assert len(server.json(f"{PLUS}/labels/nonsense")[1]["model_version_status"]) == 3


def test_metadata_shows_the_signatures(server):
    _, answer = server.json(f"{PLUS}/labels/stable/metadata")
    assert answer["model_spec"] == {"name": "plus", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert signature["method_name"] == "tensorflow/serving/predict"


REFUSED = {
    "unknown model": (
        "/v1/models/none:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(none)",
    ),
    "unknown version": (
        f"{PLUS}/versions/9:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(plus, 9)",
    ),
    "unknown label": (
        f"{PLUS}/labels/nine:predict", {"instances": [1]}, 400, "Unrecognized servable version label: nine",
    ),
    "unknown signature": (
        f"{PLUS}:predict", {"signature_name": "other", "instances": [1]}, 400,
        'Serving signature name: "other" not found in signature def',
    ),
    "empty body": (f"{PLUS}:predict", b"", 400, "JSON Parse error: The document is empty"),
    "no JSON": (f"{PLUS}:predict", b"{", 400, "JSON Parse error: "),
    "no object": (f"{PLUS}:predict", b"[1]", 400, "Is not object"),
    "neither form": (f"{PLUS}:predict", {"rows": [1]}, 400, "Missing 'inputs' or 'instances' key"),
    "both forms": (f"{PLUS}:predict", {"inputs": [1], "instances": [1]}, 400, "expecting only one of"),
    "no rows": (f"{PLUS}:predict", {"instances": []}, 400, "No values in 'instances' array"),
    "no list": (f"{PLUS}:predict", {"instances": 1}, 400, "Expecting 'instances' to be an list/array"),
    "text for a number": (
        f"{PLUS}:predict", {"instances": ["one"]}, 400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"one\" Type: String "
        "is not of expected type: float",
    ),
    "ragged rows": (
        "/v1/models/rowsum:predict", {"instances": [[1, 2], [3]]}, 400, "Expecting tensor size: 2 but got: 1",
    ),
    "foreign key": (
        f"{PLUS}:predict", {"instances": [{"z": 1}]}, 400, "JSON object: does not have named input: z",
    ),
    "missing key": (
        "/v1/models/echo:predict", {"instances": [{"text": "a"}]}, 400, "keys must be equal to: flag,number,text",
    ),
    "missing column": ("/v1/models/echo:predict", {"inputs": {"text": ["a"]}}, 400, "Missing named input: "),
    "fraction for an integer": (
        "/v1/models/echo:predict", {"instances": [{"text": "a", "number": 1.5, "flag": True}]}, 400,
        "is not of expected type: int64",
    ),
    "a shape the graph refuses": ("/v1/models/digits:predict", {"instances": [[1.0, 2.0]]}, 400, ""),
    "classify without examples": ("/v1/models/digits:classify", {}, 400, "key 'examples' is expected"),
    "classify on the wrong signature": (
        "/v1/models/digits:classify", {"examples": [{"x": 1.0}]}, 400, "No classification inputs found",
    ),
    "unknown verb": (f"{PLUS}:explain", {"instances": [1]}, 400, "Malformed request: POST /v1/models/plus:explain"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_carry_upstreams_status_and_message(server, case):
    path, body, status, message = REFUSED[case]
    got = error(server.http(path, body))
    assert got[0] == status
    assert message in got[1]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models/none", 404, "Could not find any versions of model none"),
        (f"{PLUS}/versions/9", 404, "Could not find version 9 of model plus"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/elsewhere", 400, "Malformed request: GET /v1/elsewhere"),
        ("/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
    ],
)
def test_wrong_gets_carry_upstreams_status_and_message(server, path, status, message):
    assert error(server.http(path)) == (status, message)


def test_other_paths_get_the_http_librarys_page(server):
    status, page = server.http("/healthz")
    assert status == 404
    assert page.startswith("<HTML>")


def test_a_run_beyond_the_time_limit_answers_504(start, models):
    server = start("--model_name=busy", f"--model_base_path={models}/busy", "--rest_api_timeout_in_ms=1000")
    status, message = error(server.http("/v1/models/busy:predict", {"instances": [10**7]}))
    assert status == 504
    assert message


def test_gzip_bodies_are_accepted(server):
    body = gzip.compress(b'{"instances": [2]}')
    assert server.http(f"{PLUS}:predict", body, headers={"Content-Encoding": "gzip"})[0] == 200


def test_chunked_bodies_are_accepted_and_connections_are_kept(server):
    request = (
        b"POST /v1/models/plus:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"instan\r\na\r\nces": [2]}\r\n0\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
        for _ in range(3):
            client.sendall(request)
            answer = b""
            while not answer.endswith(b"]\n}"):
                answer += client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_options_need_an_origin(server):
    assert server.http(PLUS, method="OPTIONS")[0] == 400
    assert server.http(PLUS, method="OPTIONS", headers={"Origin": "https://example.com"})[0] == 200


def test_rest_listens_on_all_addresses(server):
    with open(f"/proc/{server.pid}/net/tcp6") as table:
        listeners = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert f"{'0' * 32}:{server.rest_port:04X}" in listeners


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "3.1"), (1e9, "5e+08"), (float("nan"), "NaN"), (float("inf"), "Infinity")]
)
def test_numbers_are_written_with_as_few_digits_as_give_them_back(server, value, text):
    status, body = server.http(f"{PLUS}:predict", json.dumps({"instances": [value]}).encode())
    assert (status, body) == (200, f'{{\n    "predictions": [{text}\n    ]\n}}')


TYPES = "/v1/models/types:predict"


def typed(server, kind, form, values):
    """(status, outputs or error) of the identity of a type; `values` is JSON text."""
    body = f'{{"signature_name": "{kind}", "{form}": {values}}}'.encode(errors="surrogateescape")
    status, text = server.http(TYPES, body)
    answer = json.loads(text)
    return status, answer.get("error", answer.get("outputs", answer.get("predictions")))


NUMBERS = {
    "a float is rounded": ("float32", "[1435774380, 16777217]", [1435774340.0, 16777216.0]),
    "a float too large is infinite": ("float32", "[1.79769e+308, -1e39]", [math.inf, -math.inf]),
    "a double is rounded": ("float64", "[9007199254740993, 18446744073709551616]", [2.0**53, 2.0**64]),
    "named numbers": ("float32", "[Inf, -Infinity, 1]", [math.inf, -math.inf, 1.0]),
    "uint8 is cut to its bits": ("uint8", "[300, -1]", [44, 255]),
    "int8 is cut to its bits": ("int8", "[200]", [-56]),
    "int16 is cut to its bits": ("int16", "[65537]", [1]),
    "the whole of uint64": ("uint64", "[18446744073709551615]", [2**64 - 1]),
    "the whole of int64": ("int64", "[-9223372036854775808]", [-(2**63)]),
    "nothing": ("int32", "[[], []]", [[], []]),
    "nothing on the inside": ("int32", "[[[], []]]", [[[], []]]),
    "a scalar": ("float32", "2.5", 2.5),
    "a scalar string": ("scalar_string", '"abc"', "ABC"),
    "base64 without padding": ("scalar_string", '{"b64": "aGVs bG8"}', "HELLO"),
    "bytes that are no UTF-8": ("scalar_string", '"\udcff"', None),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_and_strings_are_converted_as_upstream_converts_them(server, case):
    kind, values, outputs = NUMBERS[case]
    if outputs is None:
        outputs = json.loads(values)
    assert typed(server, kind, "inputs", values) == (200, outputs)


REFUSED_VALUES = {
    "a type upstream's JSON does not know": (
        "half", "inputs", "[1.0]", 501, "Conversion of JSON Value: 1.0 to type: half",
    ),
    "the same in a row": (
        "bfloat16", "instances", "[1.0]", 400,
        "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 1.0 to "
        "type: bfloat16",
    ),
    "uint16": ("uint16", "inputs", "[1]", 501, "Conversion of JSON Value: 1 to type: uint16"),
    "complex64": ("complex64", "inputs", "1", 501, "Conversion of JSON Value: 1 to type: complex64"),
    "an object for a type it does not know": (
        "half", "inputs", '{"b64": ""}', 400,
        'JSON Value: {\n    "b64": ""\n} Type: Object is not of expected type: half',
    ),
    "true among floats": (
        "float32", "inputs", "[1.0, true]", 400, "JSON Value: true Type: True is not of expected type: float",
    ),
    "beyond 32 bits": (
        "uint8", "inputs", "[2147483648]", 400,
        "JSON Value: 2147483648 Type: Number is not of expected type: uint8",
    ),
    "negative unsigned": (
        "uint32", "inputs", "[-1]", 400, "JSON Value: -1 Type: Number is not of expected type: uint32",
    ),
    "beyond 64 bits": (
        "int64", "inputs", "[9223372036854775808]", 400,
        "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
    ),
    "a lone surrogate": (
        "scalar_string", "inputs", '"\\ud800"', 400,
        "JSON Parse error: The surrogate pair in string is invalid. at offset: 47",
    ),
    "base64 of one letter": ("scalar_string", "inputs", '{"b64": "a"}', 400, "Unable to base64 decode"),
    "base64 with too much padding": ("scalar_string", "inputs", '{"b64": "aGVs="}', 400, "Unable to base64 decode"),
    "no inputs, rows": ("constant", "instances", "[1]", 400, "Failed to get input map for signature: constant"),
    "no inputs, columns": ("constant", "inputs", "[]", 400, "Failed to get input map for signature: constant"),
    "nested too deep": (
        "float32", "inputs", "[" * 300 + "]" * 300, 400, "tensor parsing error: a list is nested too deep",
    ),
    "another size": (
        "float32", "instances", "[[1, 2], [[1], [2]]]", 400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2] but got: [2,1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_VALUES)
def test_values_are_refused_with_upstreams_words(server, case):
    kind, form, values, status, message = REFUSED_VALUES[case]
    assert typed(server, kind, form, values) == (status, message)


@pytest.mark.parametrize("kind", ["half", "bfloat16", "uint16", "complex64"])
def test_outputs_of_types_that_json_cannot_write_are_refused(server, kind):
    request = predict_request("types")
    request.model_spec.signature_name = kind
    # By gRPC the same tensor comes back, so it is the JSON alone that refuses.
    dtype = tensors.numpy_type(types_pb2.DataType.Value(f"DT_{kind.upper()}"))
    request.inputs["x"].CopyFrom(tensors.to_proto(np.ones(1, dtype)))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    assert tensors.to_array(stub.Predict(request).outputs["y"], "y").tolist() == [1]
    with pytest.raises(StatusError, match=f"Failed to write JSON value for tensor type: {kind}"):
        json_response.columns({"y": np.ones(1, dtype)})


def test_metadata_is_laid_out_as_upstream_concatenates_it(server):
    text = server.http(f"{PLUS}/versions/2/metadata")[1]
    assert text.startswith(
        '{\n"model_spec":{\n "name": "plus",\n "signature_name": "",\n "version": "2"\n}\n,\n'
        '"metadata": {"signature_def": {\n "signature_def": {\n'
    )
    assert text.endswith(" }\n}\n}\n}\n")
    # What belongs to a oneof comes after the rest, as TensorInfo's name.
    tensor = json.loads(text)["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
    assert list(tensor) == ["dtype", "tensor_shape", "name"]


def test_base64_objects_are_indented_like_others():
    outputs = {"t_bytes": np.array([[b"a"]], object)}
    assert json_response.predictions(outputs) == (
        '{\n    "predictions": [[{\n                "b64": "YQ=="\n            }]\n    ]\n}'
    )
    assert json_response.columns(outputs) == (
        '{\n    "outputs": [\n        [\n            {\n                "b64": "YQ=="\n'
        "            }\n        ]\n    ]\n}"
    )


def test_empty_answers():
    assert json_response.predictions({"y": np.zeros((0, 2), np.float32)}) == '{\n    "predictions": []\n}'
    assert json_response.predictions({"y": np.zeros((2, 2, 0), np.float32)}) == (
        '{\n    "predictions": [[[], []], [[], []]\n    ]\n}'
    )
    for form in (json_response.predictions, json_response.columns):
        with pytest.raises(StatusError, match="Cannot convert empty tensor map to JSON"):
            form({})


def exchange(server, *parts):
    """Send raw bytes and no more; return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=harness.PATIENCE) as client:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while data := client.recv(65536):
            answer += data
    return answer.decode()


BODY = b'{"instances": [2]}'


def test_http_1_0_is_answered_in_kind_and_kept_when_asked_for(server):
    head = b"POST /v1/models/plus:predict HTTP/1.0\r\nContent-Length: 18\r\n"
    closed = exchange(server, head + b"\r\n" + BODY)
    assert closed.startswith("HTTP/1.0 200 OK\r\n")
    assert "Connection:" not in closed
    kept = exchange(server, (head + b"Connection: Keep-Alive\r\n\r\n" + BODY) * 2)
    assert kept.count("HTTP/1.0 200 OK\r\n") == kept.count("Connection: keep-alive\r\n") == 2


def test_lines_may_end_in_a_line_feed_alone(server):
    request = b"POST /v1/models/plus:predict HTTP/1.1\nHost: x\nContent-Length: 18\n\n" + BODY
    assert exchange(server, request * 2).count("HTTP/1.1 200 OK\r\n") == 2


def test_headers_after_the_last_chunk_are_dropped(server):
    request = b"POST /v1/models/plus:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n" + BODY
    assert exchange(server, (request + b"\r\n0\r\nX: y\r\n\r\n") * 2).count("HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/x HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"GET /v1/x HTTP/3.0\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_bad_heads_are_answered_400_and_the_server_goes_on(server, head):
    assert exchange(server, head).startswith("HTTP/1.1 400 ")
    assert server.predict("plus", {"instances": [2.0]})[0] == 200


def test_a_query_belongs_to_the_path_as_upstream_reads_it(server):
    assert error(server.http(f"{PLUS}?x=1")) == (404, "Could not find any versions of model plus?x=1")
    status, text = server.http("/monitoring/prometheus/metrics?x=1")
    assert (status, text[:16]) == (400, "Unexpected path:")


def test_a_body_that_is_no_gzip_counts_as_empty(server):
    answer = server.http(f"{PLUS}:predict", b"no gzip", headers={"Content-Encoding": "gzip"})
    assert error(answer) == (400, "JSON Parse error: The document is empty")


def test_versions_too_long_for_a_number_are_refused(server):
    for digits in ("9223372036854775808", "9" * 5000):
        assert error(server.http(f"{PLUS}/versions/{digits}")) == (
            400,
            f"Failed to convert version: {digits} to numeric.",
        )


def test_names_are_bytes_and_come_back_as_they_came(server):
    assert error(server.http("/v1/models/%ff%2Fa")) == (404, "Could not find any versions of model \udcff/a")
    assert server.metric(":tensorflow:serving:request_count", model_name="\udcff/a", status="NOT_FOUND") == 1
