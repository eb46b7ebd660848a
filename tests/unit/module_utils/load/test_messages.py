# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Hand-written messages beside the classes that the server uses, known bytes, and bytes that are no message."""

from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from real_protos import message_class

# type -> its number in types.proto, values, the field of TensorProto that may hold them, and what that field holds
TYPED = {
    "DT_FLOAT": (1, [1.5, -2.0], "float_val", [1.5, -2.0]),
    "DT_DOUBLE": (2, [0.1, 1e300], "double_val", [0.1, 1e300]),
    "DT_INT32": (3, [-(2**31), 7], "int_val", [-(2**31), 7]),
    "DT_UINT8": (4, [0, 255], "int_val", [0, 255]),
    "DT_INT16": (5, [-32768, 1], "int_val", [-32768, 1]),
    "DT_INT8": (6, [-128, 127], "int_val", [-128, 127]),
    "DT_STRING": (7, [b"\xff\x00", b""], "string_val", [b"\xff\x00", b""]),
    "DT_COMPLEX64": (8, [1 + 2j, -0.5j], "scomplex_val", [1, 2, 0, -0.5]),
    "DT_INT64": (9, [-(2**63), 2**63 - 1], "int64_val", [-(2**63), 2**63 - 1]),
    "DT_BOOL": (10, [True, False], "bool_val", [True, False]),
    "DT_BFLOAT16": (14, [1.0, -2.0], "half_val", [0x3F80, 0xC000]),
    "DT_UINT16": (17, [0, 65535], "int_val", [0, 65535]),
    "DT_COMPLEX128": (18, [1 + 2j, 3 + 0j], "dcomplex_val", [1, 2, 3, 0]),
    "DT_HALF": (19, [1.0, -2.0], "half_val", [0x3C00, 0xC000]),
    "DT_UINT32": (22, [0, 2**32 - 1], "uint32_val", [0, 2**32 - 1]),
    "DT_UINT64": (23, [0, 2**64 - 1], "uint64_val", [0, 2**64 - 1]),
}
CODES = {
    **dict(zip(("DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"), "bhiq")),
    **dict(zip(("DT_UINT8", "DT_UINT16", "DT_UINT32", "DT_UINT64"), "BHIQ")),
    **dict(zip(("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BOOL"), "fde?")),
}


def response(**fields) -> bytes:
    """Return a PredictResponse with one output ``y`` of two values, written by protobuf."""
    message = message_class("PredictResponse")()
    shape = fields.pop("shape", [2])
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(message.outputs["y"], name).extend(value)
        else:
            setattr(message.outputs["y"], name, value)
    for size in shape:
        message.outputs["y"].tensor_shape.dim.add(size=size)
    return message.SerializeToString()


# --- requests ------------------------------------------------------------------------------------------------


def test_there_is_a_case_for_every_type():
    assert set(TYPED) == set(messages.DTYPES)


@pytest.mark.parametrize("dtype", TYPED)
def test_protobuf_reads_a_request_of_every_type(dtype):
    number, values, _field, _held = TYPED[dtype]
    data = messages.encode_request("ranker", "rank", {"x": Tensor(dtype, (2, 1), values)})
    message = message_class("PredictRequest").FromString(data)
    assert (message.model_spec.name, message.model_spec.signature_name) == ("ranker", "rank")
    assert not message.model_spec.HasField("version")
    tensor = message.inputs["x"]
    assert tensor.dtype == number
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2, 1]
    if dtype == "DT_STRING":
        assert list(tensor.string_val) == values
    elif dtype in CODES:
        assert struct.unpack(f"<2{CODES[dtype]}", tensor.tensor_content) == tuple(values)


@pytest.mark.parametrize(
    ("dtype", "content"),
    [
        ("DT_BFLOAT16", "803f00c0"),
        ("DT_COMPLEX64", "0000803f0000004000000080000000bf"),
        ("DT_COMPLEX128", "000000000000f03f0000000000000040" + "00000000000008400000000000000000"),
    ],
)
def test_types_without_a_code_in_python_have_known_bytes(dtype, content):
    _number, values, *_ = TYPED[dtype]
    tensor = (
        message_class("PredictRequest")
        .FromString(messages.encode_request("m", "s", {"x": Tensor(dtype, (2,), values)}))
        .inputs["x"]
    )
    assert tensor.tensor_content.hex() == content


@pytest.mark.parametrize(
    ("value", "bits"),
    [(1.00390625, 0x3F80), (1.01171875, 0x3F82), (math.inf, 0x7F80), (math.nan, 0x7FC0), (3.4e38, 0x7F80)],
)
def test_bfloat16_rounds_to_the_nearest_and_ties_to_even(value, bits):
    tensor = message_class("TensorProto").FromString(messages.encode_tensor(Tensor("DT_BFLOAT16", (1,), [value])))
    assert tensor.tensor_content == struct.pack("<H", bits)


def test_a_request_names_a_version_or_a_label():
    of = message_class("PredictRequest").FromString
    assert of(messages.encode_request("m", "s", {}, version=7)).model_spec.version.value == 7
    zero = of(messages.encode_request("m", "s", {}, version=0)).model_spec
    assert zero.HasField("version")
    assert zero.version.value == 0
    assert of(messages.encode_request("m", "s", {}, label="stable")).model_spec.version_label == "stable"
    with pytest.raises(ValueError, match="a version or a label, not both"):
        messages.encode_request("m", "s", {}, version=7, label="stable")


def test_scalars_and_empty_tensors_have_their_shapes():
    tensors = {"a": Tensor("DT_INT64", (), [3]), "b": Tensor("DT_FLOAT", (0, 4), [])}
    found = message_class("PredictRequest").FromString(messages.encode_request("m", "s", tensors)).inputs
    assert len(found["a"].tensor_shape.dim) == 0
    assert [dim.size for dim in found["b"].tensor_shape.dim] == [0, 4]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor("DT_INT8", (1,), [128]), "does not fit the type DT_INT8"),
        (Tensor("DT_UINT64", (1,), [-1]), "does not fit the type DT_UINT64"),
        (Tensor("DT_HALF", (1,), [1e6]), "does not fit the type DT_HALF"),
        (Tensor("DT_FLOAT", (1,), [1e39]), "does not fit the type DT_FLOAT"),
        (Tensor("DT_FLOAT", (1,), ["a"]), "does not fit the type DT_FLOAT"),
        (Tensor("DT_INT64", (1,), [0.5]), "does not fit the type DT_INT64"),
        (Tensor("DT_STRING", (1,), [5]), "does not fit the type DT_STRING"),
        (Tensor("DT_COMPLEX64", (1,), ["x"]), "does not fit the type DT_COMPLEX64"),
        (Tensor("DT_FLOAT", (2,), [1.0]), r"the shape \[2\] has 1 values"),
        (Tensor("DT_VARIANT", (1,), [1]), "cannot hold the type DT_VARIANT"),
    ],
)
def test_values_that_do_not_fit_are_refused(tensor, words):
    with pytest.raises(ValueError, match=words):
        messages.encode_tensor(tensor)


# --- replies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPED)
def test_a_reply_of_every_type_is_read_from_the_field_of_its_type(dtype):
    number, values, field, held = TYPED[dtype]
    assert messages.decode_response(response(dtype=number, **{field: held})) == {"y": Tensor(dtype, (2,), values)}


@pytest.mark.parametrize("dtype", TYPED)
def test_a_reply_of_every_type_is_read_from_tensor_content(dtype):
    number, values, *_ = TYPED[dtype]
    if dtype == "DT_STRING":  # lengths, then bytes: as the server writes it with enable_serialization_as_tensor_content
        content = b"\x02\x00\xff\x00"
    else:
        content = message_class("TensorProto").FromString(messages.encode_tensor(Tensor(dtype, (2,), values)))
        content = content.tensor_content
    assert messages.decode_response(response(dtype=number, tensor_content=content))["y"].values == values


@pytest.mark.parametrize("dtype", TYPED)
def test_missing_values_are_the_last_one_again(dtype):
    number, values, field, held = TYPED[dtype]
    first = held[:2] if "COMPLEX" in dtype else held[:1]
    data = response(dtype=number, shape=[3], **{field: first})
    assert messages.decode_response(data)["y"].values == [values[0]] * 3


@pytest.mark.parametrize("dtype", TYPED)
def test_values_are_zeros_where_there_is_none(dtype):
    found = messages.decode_response(response(dtype=TYPED[dtype][0], shape=[2]))["y"].values
    assert found == ([b"", b""] if dtype == "DT_STRING" else [0, 0])
    assert {type(value) for value in found} == {type(value) for value in TYPED[dtype][1]}


def test_values_that_are_not_packed_are_read_too():
    tensor = (
        b"\x08\x01" + b"\x12\x04\x12\x02\x08\x02" + b"\x2d" + struct.pack("<f", 1.5) + b"\x2d" + struct.pack("<f", 2)
    )
    entry = b"\x0a\x01y" + b"\x12" + bytes([len(tensor)]) + tensor
    assert messages.decode_response(b"\x0a" + bytes([len(entry)]) + entry) == {
        "y": Tensor("DT_FLOAT", (2,), [1.5, 2.0])
    }


def test_the_version_that_answered_is_no_output():
    message = message_class("PredictResponse")()
    message.model_spec.name = "ranker"
    message.model_spec.version.value = 7
    assert messages.decode_response(message.SerializeToString()) == {}


def test_types_and_shapes_are_told_without_decoding_a_value():
    part = messages.parts(response(dtype=1, shape=[2**40], float_val=[1.0]))["y"]
    assert (part.dtype, part.shape) == ("DT_FLOAT", (2**40,))
    with pytest.raises(ValueError, match="more than 1000000 values"):
        messages.values(part)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dtype": 1, "float_val": [1.0, 2.0, 3.0]}, r"the shape \[2\] has 3 values"),
        ({"dtype": 1, "tensor_content": b"1234567"}, "2 values of the type DT_FLOAT are in 7 bytes"),
        ({"dtype": 8, "scomplex_val": [1.0]}, "lacks its second part"),
        ({"dtype": 7, "tensor_content": b"\x02\x03abc"}, "do not fill it"),
        ({"dtype": 20}, "unknown type 20"),
        ({"dtype": 1, "shape": [-1]}, "negative dimension"),
        ({"dtype": 1, "shape": [1] * 255}, "a shape that is none"),
    ],
)
def test_replies_that_cannot_be_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        messages.decode_response(response(**fields))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x05ab", "breaks off"),
        (b"\x0a\xff", "breaks off in a number"),
        (b"\x80" * 11, "breaks off in a number"),
        (b"\x0b", "impossible kind"),
        (b"\x00\x01", "impossible number"),
        (b"\x08\x01", "another kind"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        messages.decode_response(data)


SHAPES = st.lists(st.integers(0, 3), max_size=3)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_garbage_raises_nothing_but_valueerror(data):
    with suppress(ValueError):
        messages.decode_response(data)


@given(st.sampled_from(sorted(TYPED)), st.data())
@settings(max_examples=300)
def test_a_bent_reply_raises_nothing_but_valueerror(dtype, draw):
    number, _values, field, held = TYPED[dtype]
    data = bytearray(response(dtype=number, **{field: held}))
    for _time in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with suppress(ValueError):
        messages.decode_response(bytes(data))


@given(SHAPES, st.data())
def test_what_is_written_is_read_again(shape, draw):
    dtype = draw.draw(st.sampled_from(sorted(TYPED)))
    count = math.prod(shape)
    tensor = Tensor(
        dtype, tuple(shape), draw.draw(st.lists(st.sampled_from(TYPED[dtype][1]), min_size=count, max_size=count))
    )
    assert messages.decode_response(messages.encode_response({"y": tensor})) == {"y": tensor}
    assert messages.decode_request(messages.encode_request("m", "s", {"x": tensor}, version=1)) == {"x": tensor}
