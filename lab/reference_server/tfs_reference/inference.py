# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Predict, Classify, Regress, MultiInference and metadata on a servable, in terms of upstream's messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tfs_reference import metrics, tensors
from tfs_reference.servable import DEFAULT_SIGNATURE, Servable
from tfs_reference.status import StatusError, invalid_argument

_METHOD = "tensorflow/serving/{}"
_PREDICT_METHODS = tuple(_METHOD.format(name) for name in ("predict", "classify", "regress"))
_SIGNATURE_DEF = "signature_def"


@dataclass(frozen=True)
class Settings:
    """How a call is to be run: its time limit (0: none) and two server-wide switches."""

    timeout_ms: int = 0
    check_method_names: bool = False
    as_tensor_content: bool = False


def predict(servable: Servable, request: Any, settings: Settings) -> Any:
    """PredictRequest -> PredictResponse."""
    name, signature = servable.signature(request.model_spec.signature_name)
    inputs = {key: tensors.to_array(proto, key) for key, proto in request.inputs.items()}
    outputs = run_predict(servable, signature, inputs, settings, list(request.output_filter))
    response = predict_pb2.PredictResponse()
    fill_model_spec(response.model_spec, servable, name)
    for key, array in outputs.items():
        response.outputs[key].CopyFrom(tensors.to_proto(array, settings.as_tensor_content))
    return response


def run_predict(
    servable: Servable, signature: Any, inputs: dict[str, np.ndarray], settings: Settings, wanted: list[str]
) -> dict[str, np.ndarray]:
    """Arrays by input name -> arrays by output name (all outputs when `wanted` is empty). Raises StatusError."""
    if settings.check_method_names and signature.method_name not in _PREDICT_METHODS:
        expected = ", ".join(_PREDICT_METHODS)
        raise StatusError(
            "INTERNAL",
            f"Expected prediction signature method_name to be one of {{{expected}}}. Was: {signature.method_name}",
        )
    _check_inputs(signature, inputs)
    aliases = _output_aliases(signature, wanted)
    feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
    arrays = servable.run("Predict", feeds, [signature.outputs[alias].name for alias in aliases], settings.timeout_ms)
    return dict(zip(aliases, arrays))


def _check_inputs(signature: Any, inputs: dict[str, np.ndarray]) -> None:
    sent, known = set(inputs), set(signature.inputs)
    if sent == known:
        return
    extra, missing = sorted(sent - known), sorted(known - sent)
    if len(sent) == len(known):
        raise invalid_argument(
            f"Signature input alias: {missing[0]}(feed name: {signature.inputs[missing[0]].name}) not found in request "
            f"and no default value provided. Inputs expected to be in the request {{{','.join(sorted(sent))}}}, or "
            "default input alias set: "
        )
    raise invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(known)} len({{{','.join(sorted(sent))}}}) != "
        f"len({{{','.join(sorted(known))}}}). Sent extra: {{{','.join(extra)}}}. "
        f"Missing but required: {{{','.join(missing)}}}."
    )


def _output_aliases(signature: Any, wanted: list[str]) -> list[str]:
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{','.join(sorted(signature.outputs))}}}."
            )
        if alias in wanted[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted or sorted(signature.outputs)


def classify(servable: Servable, request: Any, settings: Settings) -> Any:
    """ClassificationRequest -> ClassificationResponse."""
    response = classification_pb2.ClassificationResponse()
    name, signature = _signature(servable, request.model_spec.signature_name)
    aliases = _checked(signature, "classify", settings)
    arrays, count = _run_examples(servable, signature, "Classify", request.input, aliases, settings)
    _fill_classifications(response.result, arrays, count)
    fill_model_spec(response.model_spec, servable, name)
    return response


def regress(servable: Servable, request: Any, settings: Settings) -> Any:
    """RegressionRequest -> RegressionResponse."""
    response = regression_pb2.RegressionResponse()
    name, signature = _signature(servable, request.model_spec.signature_name)
    aliases = _checked(signature, "regress", settings)
    arrays, count = _run_examples(servable, signature, "Regress", request.input, aliases, settings)
    _fill_regressions(response.result, arrays["outputs"], count)
    fill_model_spec(response.model_spec, servable, name)
    return response


def multi_inference(servable: Servable, request: Any, settings: Settings) -> Any:
    """MultiInferenceRequest -> MultiInferenceResponse: several heads of one model, by one run over the examples."""
    tasks = _checked_tasks(servable, request, settings)
    serialized = _serialized_examples(request.input)
    feeds = {signature.inputs["inputs"].name: serialized for _, signature, _ in tasks.values()}
    names = sorted({signature.outputs[alias].name for _, signature, aliases in tasks.values() for alias in aliases})
    # Not by servable.run(): upstream measures no runtime_latency here.
    outputs = dict(zip(names, servable.runner.run(feeds, names, settings.timeout_ms)))
    metrics.examples(servable.name, len(serialized))
    response = inference_pb2.MultiInferenceResponse()
    for name, (task, signature, aliases) in tasks.items():
        arrays = {alias: outputs[signature.outputs[alias].name] for alias in aliases}
        result = response.results.add()
        if task.method_name == _METHOD.format("classify"):
            _fill_classifications(result.classification_result, arrays, len(serialized))
        else:
            _fill_regressions(result.regression_result, arrays["outputs"], len(serialized))
        fill_model_spec(result.model_spec, servable, name)
    return response


def _checked_tasks(servable: Servable, request: Any, settings: Settings) -> dict[str, tuple[Any, Any, list[str]]]:
    """Signature name -> (task, SignatureDef, outputs to fetch); raises INVALID_ARGUMENT and UNIMPLEMENTED."""
    tasks: dict[str, tuple[Any, Any, list[str]]] = {}
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in tasks:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        signature = servable.signatures[name]
        kind = task.method_name.removeprefix(_METHOD.format(""))
        if task.method_name not in (_METHOD.format("classify"), _METHOD.format("regress")):
            raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
        tasks[name] = task, signature, _checked(signature, kind, settings)
    return tasks


def _signature(servable: Servable, name: str) -> tuple[str, Any]:
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name, servable.signatures[name]


def _checked(signature: Any, method: str, settings: Settings) -> list[str]:
    """The outputs to fetch for a method ("classify" or "regress"); raises INVALID_ARGUMENT for an unfit signature."""
    kind = {"classify": "classification", "regress": "regression"}[method]
    expected = _METHOD.format(method)
    if settings.check_method_names and signature.method_name != expected:
        raise invalid_argument(f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    aliases = _classify_outputs(signature) if method == "classify" else _regress_outputs(signature)
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No {kind} inputs found in SignatureDef: {signature}")
    if not aliases and method == "classify":
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    if not aliases:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return aliases


def _classify_outputs(signature: Any) -> list[str]:
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    return [alias for alias in ("classes", "scores") if alias in signature.outputs]


def _regress_outputs(signature: Any) -> list[str]:
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    return [alias for alias in ("outputs",) if alias in signature.outputs]


def _fill_classifications(result: Any, arrays: dict[str, np.ndarray], count: int) -> None:
    for alias, array in arrays.items():
        _check_class_tensor(alias, array, count)
    widths = [array.shape[1] for array in arrays.values()]
    if len(set(widths)) > 1:
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    for row in range(count):
        entries = result.classifications.add().classes
        for column in range(widths[0]):
            entry = entries.add()
            if "classes" in arrays:
                # A message of Python's holds UTF-8 alone.
                entry.label = arrays["classes"][row, column].decode(errors="replace")
            if "scores" in arrays:
                entry.score = arrays["scores"][row, column]


def _check_class_tensor(alias: str, array: np.ndarray, count: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(array)}")
    wanted = types_pb2.DT_STRING if alias == "classes" else types_pb2.DT_FLOAT
    if tensors.type_of(array) != wanted:
        raise invalid_argument(
            f"Expected {alias} Tensor of {types_pb2.DataType.Name(wanted)}. Got: {_type_text(array)}"
        )
    if array.shape[0] != count:
        raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {array.shape[0]}")


def _fill_regressions(result: Any, array: np.ndarray, count: int) -> None:
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _shape_text(array)
        )
    if array.shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_type_text(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _shape_text(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type_text(array: np.ndarray) -> str:
    return types_pb2.DataType.Name(tensors.type_of(array))


def _run_examples(
    servable: Servable, signature: Any, api: str, examples: Any, aliases: list[str], settings: Settings
) -> tuple[dict[str, np.ndarray], int]:
    """(arrays by alias, how many examples there were)."""
    serialized = _serialized_examples(examples)
    feeds = {signature.inputs["inputs"].name: serialized}
    arrays = servable.run(api, feeds, [signature.outputs[alias].name for alias in aliases], settings.timeout_ms)
    metrics.examples(servable.name, len(serialized))
    return dict(zip(aliases, arrays)), len(serialized)


def _serialized_examples(source: Any) -> np.ndarray:
    """The examples of an Input message; a context goes before each, so that the example's own features win."""
    kind = source.WhichOneof("kind")
    listed = source.example_list_with_context if kind == "example_list_with_context" else source.example_list
    context = listed.context.SerializeToString() if kind == "example_list_with_context" else b""
    if not listed.examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(listed.examples), dtype=object)
    array[:] = [context + example.SerializeToString() for example in listed.examples]
    return array


def check_metadata_fields(fields: list[str]) -> None:
    """Raises INVALID_ARGUMENT; the only field there is, is signature_def."""
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != _SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")


def metadata(servable: Servable) -> Any:
    """GetModelMetadataResponse."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    fill_model_spec(response.model_spec, servable, "")
    response.metadata[_SIGNATURE_DEF].Pack(signature_def_map(servable))
    return response


def signature_def_map(servable: Servable) -> Any:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def fill_model_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    spec.name = servable.name
    spec.signature_name = signature_name
    spec.version.value = servable.version
