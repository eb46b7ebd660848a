# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The messages of a prediction as bytes: PredictRequest and PredictResponse, without protobuf's library.

A load host needs no TensorFlow for them. Fields are numbered as in TensorFlow Serving's predict.proto and model.proto
and TensorFlow's tensor.proto and tensor_shape.proto; a reply is untrusted, so reading one raises nothing but ValueError
and keeps within the limits below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Union

# A list of a million floats takes 32 MB, and a generator has 150 MB for everything.
MOST_VALUES = 1_000_000
# TensorFlow's own limit (TensorShape::MaxDimensions).
MOST_DIMENSIONS = 254
# Models have a handful of outputs; the widest known exports have some hundred.
MOST_OUTPUTS = 10_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class Tensor(NamedTuple):
    """A tensor: ``values`` is flat, the last dimension fastest. Texts are bytes, complex numbers are Python's."""

    dtype: str
    shape: tuple[int, ...]
    values: Sequence[Any]


class Part(NamedTuple):
    """An output whose values are not decoded yet; ``fields`` are those of its TensorProto that hold values."""

    dtype: str
    shape: tuple[int, ...]
    fields: Sequence[tuple[int, int, Any]]


class _Kind(NamedTuple):
    """How a type is stored: its number in types.proto, struct's code in tensor_content, its own field of TensorProto.

    ``numbers`` is how many of those codes make one value.
    """

    number: int
    code: str
    field: int
    numbers: int = 1


_CONTENT = 4
_STRING = "DT_STRING"
_KINDS = {
    "DT_FLOAT": _Kind(1, "f", 5),
    "DT_DOUBLE": _Kind(2, "d", 6),
    "DT_INT32": _Kind(3, "i", 7),
    "DT_UINT8": _Kind(4, "B", 7),
    "DT_INT16": _Kind(5, "h", 7),
    "DT_INT8": _Kind(6, "b", 7),
    _STRING: _Kind(7, "s", 8),
    "DT_COMPLEX64": _Kind(8, "f", 9, 2),
    "DT_INT64": _Kind(9, "q", 10),
    "DT_BOOL": _Kind(10, "?", 11),
    "DT_BFLOAT16": _Kind(14, "H", 13),
    "DT_UINT16": _Kind(17, "H", 7),
    "DT_COMPLEX128": _Kind(18, "d", 12, 2),
    "DT_HALF": _Kind(19, "e", 13),
    "DT_UINT32": _Kind(22, "I", 16),
    "DT_UINT64": _Kind(23, "Q", 17),
}
_NAMES = {kind.number: name for name, kind in _KINDS.items()}

DTYPES = tuple(_KINDS)
FLOATS = frozenset({"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"})
COMPLEX = frozenset({"DT_COMPLEX64", "DT_COMPLEX128"})

# --- writing -------------------------------------------------------------------------------------------------


def encode_request(
    model: str,
    signature: str,
    inputs: Mapping[str, Tensor],
    version: int | None = None,
    label: str | None = None,
) -> bytes:
    """Return a PredictRequest. Raises ValueError if a tensor's values do not fit its type or shape."""
    if version is not None and label is not None:
        raise ValueError("a request names a version or a label, not both")
    spec = delimited(1, model.encode())
    if version is not None:
        spec += delimited(2, tagged(1, version))
    spec += delimited(3, signature.encode()) if signature else b""
    spec += delimited(4, label.encode()) if label is not None else b""
    return delimited(1, spec) + _tensors(2, inputs)


def encode_response(outputs: Mapping[str, Tensor]) -> bytes:
    """Return a PredictResponse, as a server of known answers gives it. Raises ValueError likewise."""
    return _tensors(1, outputs)


def _tensors(field: int, tensors: Mapping[str, Tensor]) -> bytes:
    entries = (delimited(1, name.encode()) + delimited(2, encode_tensor(each)) for name, each in tensors.items())
    return b"".join(delimited(field, entry) for entry in entries)


def encode_tensor(tensor: Tensor) -> bytes:
    """Return a TensorProto. Raises ValueError if the values do not fit the type or the shape."""
    kind = _KINDS.get(tensor.dtype)
    if kind is None:
        raise ValueError(f"a request cannot hold the type {tensor.dtype}")
    if len(tensor.values) != prod(tensor.shape):
        raise ValueError(f"a tensor of the shape {list(tensor.shape)} has {len(tensor.values)} values")
    shape = b"".join(delimited(2, tagged(1, size) if size else b"") for size in tensor.shape)
    return tagged(1, kind.number) + delimited(2, shape) + _encoded_values(tensor, kind)


def _encoded_values(tensor: Tensor, kind: _Kind) -> bytes:
    try:
        if tensor.dtype == _STRING:
            return b"".join(delimited(kind.field, bytes(value)) for value in map(_as_bytes, tensor.values))
        numbers = _numbers(tensor)
        content = struct.pack(f"<{len(numbers)}{kind.code}", *numbers)
    except (struct.error, OverflowError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"a value does not fit the type {tensor.dtype} ({error})") from None
    return delimited(_CONTENT, content) if content else b""


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, str)):
        return value.encode() if isinstance(value, str) else bytes(value)
    raise TypeError("it is no text")


def _numbers(tensor: Tensor) -> Sequence[Any]:
    if tensor.dtype in COMPLEX:
        return [part for value in tensor.values for part in (complex(value).real, complex(value).imag)]
    if tensor.dtype == "DT_BFLOAT16":
        return [_upper_half(value) for value in tensor.values]
    return tensor.values


def _upper_half(value: float) -> int:
    """Return a number as bfloat16, rounded to the nearest, ties to even, as TensorFlow does."""
    if value != value:
        return 0x7FC0
    bits = int.from_bytes(struct.pack("<f", value), "little")
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def delimited(field: int, content: bytes) -> bytes:
    """Return a field of bytes, a text or a message."""
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def tagged(field: int, value: int) -> bytes:
    """Return a field of a whole number."""
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


# --- reading -------------------------------------------------------------------------------------------------


def decode_response(data: bytes) -> dict[str, Tensor]:
    """Return the outputs of a PredictResponse by name. Raises ValueError for bytes that are not one."""
    return {name: Tensor(part.dtype, part.shape, values(part)) for name, part in parts(data).items()}


def parts(data: bytes) -> dict[str, Part]:
    """Return the types and shapes of the outputs of a PredictResponse. Raises ValueError for bytes that are not one."""
    return _parts(data, 1)


def decode_request(data: bytes) -> dict[str, Tensor]:
    """Return the inputs of a PredictRequest by name. Raises ValueError for bytes that are not one."""
    return {name: Tensor(part.dtype, part.shape, values(part)) for name, part in _parts(data, 2).items()}


def only(data: bytes, wanted: int) -> bytes:
    """Return the content of a message's only field, of the number ``wanted``. Raises ValueError for other fields."""
    found = list(fields(memoryview(data)))
    if len(found) != 1 or found[0][0] != wanted:
        raise ValueError(f"it has other fields than {wanted}")
    return bytes(_message(*found[0][1:]))


def _parts(data: bytes, wanted: int) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for field, kind, content in fields(memoryview(data)):
        if field == wanted:
            name, part = _entry(_message(kind, content))
            found[name] = part
            if len(found) > MOST_OUTPUTS:
                raise ValueError(f"it has more than {MOST_OUTPUTS} tensors")
    return found


def _entry(entry: memoryview) -> tuple[str, Part]:
    name, tensor = b"", memoryview(b"")
    for field, kind, content in fields(entry):
        if field == 1:
            name = bytes(_message(kind, content))
        elif field == 2:
            tensor = _message(kind, content)
    return name.decode("utf-8"), _part(tensor)  # UnicodeDecodeError is a ValueError


def _part(tensor: memoryview) -> Part:
    number, held = 0, []
    shape: tuple[int, ...] = ()
    for field, kind, content in fields(tensor):
        if field == 1 and kind == _VARINT:
            number = content
        elif field == 2:
            shape = _shape(_message(kind, content))
        else:
            held.append((field, kind, content))
            if len(held) > MOST_VALUES:
                raise ValueError(f"a tensor has more than {MOST_VALUES} values")
    if number not in _NAMES:
        raise ValueError(f"a tensor is of the unknown type {number}")
    return Part(_NAMES[number], shape, held)


def _shape(content: memoryview) -> tuple[int, ...]:
    sizes = []
    for field, kind, inner in fields(content):
        if field == 2:
            sizes.append(_size(_message(kind, inner)))
        if len(sizes) > MOST_DIMENSIONS or (field == 3 and inner):
            raise ValueError("a tensor has a shape that is none")
    return tuple(sizes)


def _size(dimension: memoryview) -> int:
    size = next((value for field, kind, value in fields(dimension) if field == 1 and kind == _VARINT), 0)
    if size >= 2**63:
        raise ValueError("a tensor has a negative dimension")
    return int(size)


def values(part: Part) -> list[Any]:
    """Return the values of an output, flat. Raises ValueError if they do not fit its shape or are too many.

    As in TensorFlow, missing values are the last one again, and zeros where there is none.
    """
    count = prod(part.shape)
    if count > MOST_VALUES:
        raise ValueError(f"a tensor has more than {MOST_VALUES} values")
    kind = _KINDS[part.dtype]
    content = next((bytes(_message(wire, held)) for field, wire, held in part.fields if field == _CONTENT), b"")
    found = _of_content(part.dtype, kind, content, count) if content else _of_fields(part, kind)
    if len(found) > count:
        raise ValueError(f"a tensor of the shape {list(part.shape)} has {len(found)} values")
    if len(found) < count:
        zero = b"" if part.dtype == _STRING else _joined(part.dtype, [0.0] * kind.numbers)[0]
        found += [found[-1] if found else zero] * (count - len(found))
    return found


def _of_content(dtype: str, kind: _Kind, content: bytes, count: int) -> list[Any]:
    if dtype == _STRING:
        return _texts(content, count)
    if len(content) != count * kind.numbers * struct.calcsize(f"<{kind.code}"):
        raise ValueError(f"{count} values of the type {dtype} are in {len(content)} bytes")
    return _joined(dtype, struct.unpack(f"<{count * kind.numbers}{kind.code}", content))


def _texts(content: bytes, count: int) -> list[bytes]:
    """Return texts out of tensor_content: all lengths, then all bytes (TensorFlow's port::EncodeStringList)."""
    lengths, at, view = [], 0, memoryview(content)
    for _text in range(count):
        length, at = _read_varint(view, at)
        lengths.append(length)
    if sum(lengths) != len(content) - at:
        raise ValueError("the texts of a tensor do not fill it")
    found = []
    for length in lengths:
        begin, at = at, at + length
        found.append(content[begin:at])
    return found


def _of_fields(part: Part, kind: _Kind) -> list[Any]:
    held = [(wire, content) for field, wire, content in part.fields if field == kind.field]
    if part.dtype == _STRING:
        return [bytes(_message(wire, content)) for wire, content in held]
    found: list[Any] = []
    for wire, content in held:
        found += _packed(kind, content) if wire == _BYTES else _single(kind, wire, content)
        if len(found) > MOST_VALUES * kind.numbers:
            raise ValueError(f"a tensor has more than {MOST_VALUES} values")
    if len(found) % kind.numbers:
        raise ValueError("a complex number lacks its second part")
    return _joined(part.dtype, found)


def _packed(kind: _Kind, content: memoryview) -> list[Any]:
    if kind.code in "fd":
        return list(_unpacked(kind.code, content))
    found, at = [], 0
    while at < len(content):
        value, at = _read_varint(content, at)
        found.append(_narrowed(kind.code, value))
        if len(found) > MOST_VALUES:
            raise ValueError(f"a tensor has more than {MOST_VALUES} values")
    return found


def _single(kind: _Kind, wire: int, content: Any) -> list[Any]:
    if (wire == _VARINT) == (kind.code in "fd"):
        raise ValueError("a value is not of its tensor's type")
    return list(_unpacked(kind.code, content)) if kind.code in "fd" else [_narrowed(kind.code, content)]


def _unpacked(code: str, content: memoryview) -> tuple[Any, ...]:
    width = struct.calcsize(f"<{code}")
    if len(content) % width:
        raise ValueError("a value is cut off")
    return struct.unpack(f"<{len(content) // width}{code}", content)


def _narrowed(code: str, value: int) -> Any:
    """Return a varint as a value of a type: the lowest bits, as protobuf and TensorFlow cast it."""
    if code == "?":
        return bool(value)
    width = struct.calcsize(f"<{code}")
    return struct.unpack(f"<{code}", (value & (1 << 8 * width) - 1).to_bytes(width, "little"))[0]


def _joined(dtype: str, numbers: Sequence[Any]) -> list[Any]:
    """Return Python's values for what is stored."""
    if dtype in COMPLEX:
        return [complex(real, imaginary) for real, imaginary in zip(numbers[::2], numbers[1::2])]
    if dtype == "DT_BFLOAT16":
        return [struct.unpack("<f", struct.pack("<I", int(number) << 16))[0] for number in numbers]
    if dtype == "DT_BOOL":
        return list(map(bool, numbers))
    return list(numbers) if dtype in FLOATS else [int(number) for number in numbers]


_Content = Union[int, memoryview]


def fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield the fields of a message: number, wire type, and a number or the bytes. Raises ValueError."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        field, kind = key >> 3, key & 7
        if not 0 < field < 2**29:
            raise ValueError("a field has an impossible number")
        content: _Content
        if kind == _VARINT:
            content, at = _read_varint(data, at)
        else:
            length, at = (_WIDTHS[kind], at) if kind in _WIDTHS else _length(kind, data, at)
            begin, at = at, at + length
            content = data[begin:at]
            if at > len(data):
                raise ValueError("it breaks off")
        yield field, kind, content


def _length(kind: int, data: memoryview, at: int) -> tuple[int, int]:
    if kind != _BYTES:
        raise ValueError("a field is of an impossible kind")
    return _read_varint(data, at)


def _message(kind: int, content: Any) -> memoryview:
    if kind != _BYTES:
        raise ValueError("a field is of another kind than its message says")
    return memoryview(content)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    longest = at + 10
    for byte in data[at:longest]:
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError("it breaks off in a number")
