# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Cuts the tensors of a Predict request by rows, and joins those of its answers."""

from __future__ import annotations

import itertools
import math

import serving_pb2 as serving  # made of ../protos by protoc

# Numbers and texts; a complex number would be two values.
TEXT, CUT = 7, (1, 2, 3, 4, 5, 6, 7, 9, 10, 14, 17, 19, 22, 23)


class RefusedError(Exception):
    """A request that cannot be cut, or answers that cannot be joined."""


def rows_of(tensor):
    return tensor.tensor_shape.dim[0].size if tensor.tensor_shape.dim else 0


def check_signature(request, packed):
    """Refuse inputs and outputs that are not batched on dimension 0 by the signature, as far as it tells."""
    known = serving.SignatureDefMap()
    packed.Unpack(known)
    signature = known.signature_def[request.model_spec.signature_name or "serving_default"]
    used = [(name, signature.inputs) for name in request.inputs]
    used += [(name, signature.outputs) for name in request.output_filter or signature.outputs]
    for name, side in used:
        if name in side and not side[name].tensor_shape.unknown_rank and rows_of(side[name]) != -1:
            raise RefusedError(f"{name}: is not batched on dimension 0")


def pieces_of(request, cut, version):
    """Return a request for each piece, all of one version."""
    for name, tensor in request.inputs.items():
        if rows_of(tensor) != sum(cut):
            raise RefusedError(f"{name}: has not {sum(cut)} rows as another input")
        if tensor.dtype not in CUT or len(tensor.tensor_content) % sum(cut) or packed_texts(tensor):
            raise RefusedError(f"{name}: cannot be cut")
    head = serving.PredictRequest()
    head.CopyFrom(request)
    head.ClearField("inputs")
    head.model_spec.version.value = version
    for rows, stop in zip(cut, itertools.accumulate(cut)):
        piece = serving.PredictRequest()
        piece.CopyFrom(head)
        for name, tensor in request.inputs.items():
            fill(piece.inputs[name], tensor, stop - rows, stop)
        yield piece


def fill(piece, tensor, start, stop):
    """Fill a tensor with some rows of another one."""
    row, row_bytes = row_values(tensor), len(tensor.tensor_content) // rows_of(tensor)
    piece.dtype, piece.tensor_content = tensor.dtype, tensor.tensor_content[start * row_bytes : stop * row_bytes]
    piece.tensor_shape.CopyFrom(tensor.tensor_shape)
    piece.tensor_shape.dim[0].size = stop - start
    for field, values in value_lists(tensor):  # the last value stands for all that are missing
        getattr(piece, field.name).extend(values[start * row : stop * row] or values[-1:])


def row_values(tensor):
    return math.prod(dim.size for dim in tensor.tensor_shape.dim[1:])


def packed_texts(tensor):
    """Tell whether the content of a tensor begins with the lengths of its texts, so that no rows can be taken of it."""
    return tensor.dtype == TEXT and bool(tensor.tensor_content)


def value_lists(tensor):
    return [(field, values) for field, values in tensor.ListFields() if field.name.endswith("_val")]


def joined(answers, cut, version):
    """Return one answer of the answers to all pieces, in their order."""
    whole = serving.PredictResponse(model_spec=answers[0].model_spec)
    for answer in answers:
        if answer.model_spec.version.value != version or set(answer.outputs) != set(answers[0].outputs):
            raise RefusedError("the answers differ in version or outputs")
    for name in answers[0].outputs:
        join(name, whole.outputs[name], [answer.outputs[name] for answer in answers], cut)
    return whole


def join(name, whole, parts, cut):
    for part, rows in zip(parts, cut):
        if rows_of(part) != rows:
            raise RefusedError(f"{name}: is not batched on dimension 0")
        full = all(len(held) == rows * row_values(part) for _, held in value_lists(part))
        if form(part) != form(parts[0]) or not full or packed_texts(part):
            raise RefusedError(f"{name}: differs in type, shape or values from piece to piece")
        whole.MergeFrom(part)  # joins the lists, and all shapes and contents wrongly
    whole.tensor_shape.CopyFrom(parts[0].tensor_shape)
    whole.tensor_shape.dim[0].size = sum(cut)
    whole.tensor_content = b"".join(part.tensor_content for part in parts)


def form(tensor):
    return (
        tensor.dtype,
        [dim.size for dim in tensor.tensor_shape.dim[1:]],
        [each.name for each, _ in tensor.ListFields()],
    )
