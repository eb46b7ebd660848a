# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TFLite: one signature as model.tflite beside saved_model.pb, for a server with --prefer_tflite_model.

The server runs the first subgraph with TensorFlow Lite's built-in operations alone, and knows inputs and outputs by a
SignatureDef that it finds in the file's metadata (tflite_session.cc, signature_def_util.cc). The converter does not
write one: without it callers would have to use the names of tensors, such as serving_default_x.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import files, graphs
from .runtime import FailureError, numpy, part, sentence, tensorflow

FILE = "model.tflite"
METADATA = "signature_defs_metadata"
IDENTIFIER = b"TFL3"
# Flatbuffers have 32-bit offsets.
LARGEST = 2**31 - 1


def convert(model: Path, out: Path, signature: str, quantised: bool) -> None:
    """Write the model with model.tflite beside it. Raises FailureError where it cannot be converted."""
    tf = tensorflow()
    graph = graphs.served(graphs.read(model))
    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(model), signature_keys=[signature])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if quantised else []
        content = bytes(converter.convert())
    except Exception as error:  # the converter raises whatever a graph sets off
        raise FailureError(f"TFLite cannot convert signature {signature}: {_reason(error)}") from error
    if len(content) > LARGEST:
        raise FailureError("the converted model is larger than 2 GB, which no model.tflite may be")
    files.take_over(model, out, (FILE,))
    (out / FILE).write_bytes(_named(content, graph.signature_def[signature], signature))


def _reason(error: Exception) -> str:
    """Return what the converter wants said: the operations that it has no built-in for, if that is it."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    return f"it has no built-in for {named[0].partition(':')[2].strip()[:200]}" if named else sentence(error)


def _named(content: bytes, signature: Any, name: str) -> bytes:
    """Return the converted model with the names that callers know."""
    held = _signature_def(content, signature, name)
    schema, flatbuffers = part("tensorflow.lite.python.schema_py_generated"), part("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = numpy().frombuffer(_flexible_map(name, held), numpy().uint8)
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + len(held) + 4096)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Raw(str):
    """Bytes in the place of a text, which FlexBuffers' builder would encode as UTF-8 and a message is not."""

    held: bytes = b""

    def encode(self, *_arguments: Any, **_options: Any) -> bytes:
        """Return the bytes as they are."""
        return self.held


def _flexible_map(name: str, held: bytes) -> bytes:
    builder = part("flatbuffers.flexbuffers").Builder()
    text = _Raw()
    text.held = held
    with builder.Map():
        builder.Key(name)
        builder.String(text)
    return bytes(builder.Finish())


def _signature_def(content: bytes, signature: Any, name: str) -> bytes:
    """Return the signature with the names of TFLite's tensors."""
    interpreter = tensorflow().lite.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner(name)
    found = type(signature)()
    found.CopyFrom(signature)
    details_of = (found.inputs, runner.get_input_details()), (found.outputs, runner.get_output_details())
    for tensors, details in details_of:
        for key, tensor in tensors.items():
            if key not in details:
                raise FailureError(f"TFLite lost {key} of signature {name}: it is not used or not made by it")
            tensor.name = details[key]["name"]
    held = bytes(found.SerializeToString(deterministic=True))
    # The server reads it as a C string, which ends at a zero; a scalar's empty shape is one.
    if b"\0" in held:
        for tensor in [*found.inputs.values(), *found.outputs.values()]:
            if not tensor.tensor_shape.dim:
                tensor.ClearField("tensor_shape")
        held = bytes(found.SerializeToString(deterministic=True))
    if b"\0" in held:
        raise FailureError(f"signature {name} has an empty dimension or name, which a model.tflite cannot carry")
    return held
