# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up records: what is in them, for which batch sizes, and what is refused before a server would."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import checkpoint, signatures
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import Signature
from saved_models import number, part

X = {"x": signatures.Tensor("DT_FLOAT", (-1, 2))}
Y = {"y": signatures.Tensor("DT_FLOAT", (-1,))}
KNOWN = {"serving_default": Signature(inputs=X, outputs=Y)}
GOLDEN = "golden/ranker.jsonl"


def request(line: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": f"line {line}", "line": line, "inputs": {"x": [[1.0, 2.0], [3.0, 4.0]]}, **more}


def wish(*requests: dict[str, Any], sizes: tuple[int, ...] = (1,)) -> warmup.Wish:
    return warmup.Wish(requests or (request(),), sizes, GOLDEN)


def inputs_in(content: bytes) -> list[dict[str, Tensor]]:
    return [messages.decode_request(warmup.request_of(each)) for each in warmup.records(content)]


def test_the_checksum_is_crc_32c_masked_as_tensorflow_masks_it():
    # CRC-32C of "123456789" is 0xe3069283 (RFC 3720 B.4 has the polynomial; the value is that of every CRC catalogue).
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert checkpoint.masked_sum(b"123456789") == struct.pack("<I", masked)


def test_a_record_is_a_length_and_a_content_each_with_its_checksum():
    head = struct.pack("<Q", 3)
    assert warmup.record(b"abc") == head + checkpoint.masked_sum(head) + b"abc" + checkpoint.masked_sum(b"abc")
    assert list(warmup.records(warmup.record(b"abc") + warmup.record(b""))) == [b"abc", b""]


@pytest.mark.parametrize("at", range(19))
def test_a_record_with_a_flipped_bit_is_no_record(at):
    content = bytearray(warmup.record(b"abc"))
    content[at] ^= 1
    with pytest.raises(ValueError, match="is not what its checksum is of"):
        list(warmup.records(bytes(content)))


def test_a_record_holds_a_predict_log_of_the_request():
    found = warmup.made(wish(request(inputs={"x": [[1.0, 2.0]]})), "ranker", KNOWN)
    tensor = part(2, part(1, "x") + part(2, number(1, 1) + part(2, part(2, number(1, 1)) + part(2, number(1, 2)))
        + part(4, struct.pack("<2f", 1, 2))))  # fmt: skip
    spec = part(1, part(1, "ranker") + part(3, "serving_default"))
    assert list(warmup.records(found.content)) == [part(6, part(1, spec + tensor))]


def test_there_is_one_record_for_each_batch_size_with_rows_again_and_again():
    found = warmup.made(wish(sizes=(1, 2, 5)), "ranker", KNOWN)
    assert (found.records, found.sizes, found.left_out) == (3, [1, 2, 5], [])
    assert inputs_in(found.content) == [
        {"x": Tensor("DT_FLOAT", (1, 2), [1, 2])},
        {"x": Tensor("DT_FLOAT", (2, 2), [1, 2, 3, 4])},
        {"x": Tensor("DT_FLOAT", (5, 2), [1, 2, 3, 4, 1, 2, 3, 4, 1, 2])},
    ]


def test_a_request_that_cannot_be_batched_is_taken_as_it_is():
    fixed = {"serving_default": Signature(inputs={"x": signatures.Tensor("DT_FLOAT", (2, 2))}, outputs=Y)}
    found = warmup.made(wish(sizes=(1, 2, 5)), "ranker", fixed)
    assert (found.records, found.sizes) == (1, [])
    assert inputs_in(found.content) == [{"x": Tensor("DT_FLOAT", (2, 2), [1, 2, 3, 4])}]


def test_each_signature_is_warmed_by_its_first_request_that_must_be_answered():
    known = {**KNOWN, "wide": KNOWN["serving_default"]}
    asked = [
        request(1, must_fail=True, inputs={"x": "nonsense"}),
        *(request(line, inputs={"x": [[line, 0]]}) for line in (2, 3)),
        request(4, signature_name="wide", inputs={"x": [[4, 0]]}),
    ]
    found = warmup.made(wish(*asked), "ranker", known)
    assert [list(each["x"].values) for each in inputs_in(found.content)] == [[2, 0], [4, 0]]


def test_an_empty_batch_leaves_the_warm_up_to_the_next_request():
    found = warmup.made(wish(request(inputs={"x": []}), request(2), sizes=(1, 4)), "ranker", KNOWN)
    assert (found.records, found.sizes) == (2, [1, 4])
    assert [each["x"].shape for each in inputs_in(found.content)] == [(1, 2), (4, 2)]
    assert warmup.made(wish(request(inputs={"x": []})), "ranker", KNOWN).records == 0


def test_every_type_comes_back_as_it_went():
    values: dict[str, list[Any]] = {
        "DT_STRING": ["a", {"b64": "AP8="}],
        "DT_BOOL": [True, False],
        **{dtype: [-5, 7] for dtype in ("DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64")},
        **{dtype: [5, 7] for dtype in ("DT_UINT8", "DT_UINT16", "DT_UINT32", "DT_UINT64")},
        **{dtype: [0.1, -1e3] for dtype in ("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16")},
    }
    known = Signature(inputs={dtype: signatures.Tensor(dtype, (-1,)) for dtype in values}, outputs=Y)
    found = warmup.made(wish(request(inputs=values), sizes=(2, 3)), "types", {"serving_default": known})
    assert [{dtype: held.dtype for dtype, held in each.items()} for each in inputs_in(found.content)] == [
        {dtype: dtype for dtype in values}
    ] * 2


def test_sizes_that_would_make_the_file_too_large_are_left_out():
    wide = {"serving_default": Signature(inputs={"x": signatures.Tensor("DT_FLOAT", (-1, 1000))}, outputs=Y)}
    asked = wish(request(inputs={"x": [[0.5] * 1000]}), sizes=(1, 900, 1001, 10**9))
    found = warmup.made(asked, "wide", wide)
    assert (found.sizes, found.left_out) == ([1, 900], [1001, 10**9])
    assert len(found.content) < warmup.MOST_BYTES


def test_a_file_has_no_more_records_than_the_server_takes():
    found = warmup.made(wish(sizes=tuple(range(1, 1003))), "ranker", KNOWN)
    assert (found.records, found.left_out) == (1000, [1001, 1002])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (request(7, inputs={"x": [[1, "a"]]}), f"{GOLDEN}:7: inputs.x[0][1] is the string 'a'"),
        (request(7, inputs={"x": [[1, 2, 3]]}), f"{GOLDEN}:7: inputs.x has the shape [1, 3]"),
        (request(7, inputs={"z": [1]}), f"{GOLDEN}:7: inputs.z is no input of ranker"),
        (
            request(7, signature_name="wide"),
            f"{GOLDEN}:7 is for the signature wide, and the model has serving_default",
        ),
    ],
)
def test_a_request_that_the_model_does_not_take_is_refused_before_a_server_loads_it(given, problem):
    known = {**KNOWN, "__init": Signature()}
    with pytest.raises(RefusalError) as refused:
        warmup.made(wish(given), "ranker", known)
    assert refused.value.key == "golden"
    assert refused.value.problem.startswith(problem)


def test_records_that_do_not_read_back_are_not_used(monkeypatch):
    monkeypatch.setattr(messages, "decode_request", lambda _content: {})
    with pytest.raises(RefusalError, match="its warm-up records do not read back"):
        warmup.made(wish(), "ranker", KNOWN)


def test_the_file_is_added_once_and_one_that_a_version_brings_is_kept(tmp_path):
    assert warmup.add(str(tmp_path), wish(), "ranker", KNOWN).records == 1
    path = tmp_path / warmup.FILE
    path.write_bytes(b"its own")
    assert warmup.add(str(tmp_path), wish(), "ranker", KNOWN) is None
    assert path.read_bytes() == b"its own"


def test_without_a_request_that_must_be_answered_there_is_no_file(tmp_path):
    assert warmup.add(str(tmp_path), warmup.Wish(), "ranker", KNOWN) is None
    assert warmup.add(str(tmp_path), wish(request(must_fail=True)), "ranker", KNOWN) is None
    assert list(tmp_path.iterdir()) == []


def splitting(**batching):
    return {"flags": {"enable_batching": True}, "batching": {"enable_large_batch_splitting": True, **batching}}


@pytest.mark.parametrize(
    ("instances", "sizes"),
    [
        ([], (1,)),
        ([{"flags": {}, "batching": {"max_batch_size": 8}}], (1,)),
        ([{"flags": {"enable_batching": True}, "batching": {"max_batch_size": 8}}], (8,)),
        (
            [
                {"flags": {"enable_batching": True}, "batching": {"max_batch_size": 8, "allowed_batch_sizes": [2, 8]}},
                {"flags": {"enable_batching": True}, "batching": {"max_batch_size": 4, "allowed_batch_sizes": [4]}},
                {"flags": None, "batching": None},
            ],
            (1, 2, 4, 8),
        ),
        # A request of 700 rows is cut, so that no batch is as large as it.
        ([splitting(max_batch_size=700, max_execution_batch_size=175)], (175,)),
        ([splitting(max_batch_size=700, max_execution_batch_size=32, allowed_batch_sizes=[8, 32, 700])], (8, 32)),
        ([splitting(max_batch_size=32)], (32,)),
    ],
)
def test_batch_sizes_are_those_of_all_instances_that_serve_the_model(instances, sizes):
    assert warmup.batch_sizes(instances) == sizes
