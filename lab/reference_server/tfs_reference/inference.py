# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Predict, Classify, Regress, MultiInference and metadata on a servable, in terms of upstream's messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from tfs_reference import metrics, tensors
from tfs_reference.servable import DEFAULT_SIGNATURE, Servable
from tfs_reference.status import StatusError, failed_precondition, invalid_argument

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
    name, signature = _signature_for(servable, request.model_spec.signature_name, "classify", settings)
    aliases = _classify_outputs(signature)
    arrays = _run_examples(servable, signature, "Classify", request.input, aliases, settings)
    _fill_classifications(response.result, arrays)
    fill_model_spec(response.model_spec, servable, name)
    return response


def _classify_outputs(signature: Any) -> list[str]:
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    aliases = [alias for alias in ("classes", "scores") if alias in signature.outputs]
    if not aliases:
        raise failed_precondition(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    return aliases


def _fill_classifications(result: Any, arrays: dict[str, np.ndarray]) -> None:
    for alias, array in arrays.items():
        if array.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
        expected = object if alias == "classes" else np.float32
        if array.dtype != expected:
            name = "DT_STRING" if alias == "classes" else "DT_FLOAT"
            raise invalid_argument(f"Expected {alias} Tensor of {name}. Got: {array.dtype.name}")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise invalid_argument("Tensors class and score should match in dim_size(1).")
    rows, classes = shapes.pop()
    for row in range(rows):
        entries = result.classifications.add().classes
        for column in range(classes):
            entry = entries.add()
            if "classes" in arrays:
                entry.label = arrays["classes"][row, column]
            if "scores" in arrays:
                entry.score = arrays["scores"][row, column]


def regress(servable: Servable, request: Any, settings: Settings) -> Any:
    """RegressionRequest -> RegressionResponse."""
    response = regression_pb2.RegressionResponse()
    name, signature = _signature_for(servable, request.model_spec.signature_name, "regress", settings)
    if "outputs" not in signature.outputs:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    array = _run_examples(servable, signature, "Regress", request.input, ["outputs"], settings)["outputs"]
    _fill_regressions(response.result, array)
    fill_model_spec(response.model_spec, servable, name)
    return response


def _fill_regressions(result: Any, array: np.ndarray) -> None:
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(array.shape)}"
        )
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT. Got: {array.dtype.name}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def multi_inference(servable: Servable, request: Any, settings: Settings) -> Any:
    """MultiInferenceRequest -> MultiInferenceResponse: several heads of one model over the same examples."""
    response = inference_pb2.MultiInferenceResponse()
    seen = set()
    for task in request.tasks:
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if task.model_spec.signature_name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {task.model_spec.signature_name}")
        seen.add(task.model_spec.signature_name)
        result = response.results.add()
        _run_task(servable, task, request.input, settings, result)
    return response


def _run_task(servable: Servable, task: Any, examples: Any, settings: Settings, result: Any) -> None:
    if task.method_name == _METHOD.format("classify"):
        request = classification_pb2.ClassificationRequest(model_spec=task.model_spec, input=examples)
        answer = classify(servable, request, settings)
        result.classification_result.CopyFrom(answer.result)
    elif task.method_name == _METHOD.format("regress"):
        request = regression_pb2.RegressionRequest(model_spec=task.model_spec, input=examples)
        answer = regress(servable, request, settings)
        result.regression_result.CopyFrom(answer.result)
    else:
        raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
    result.model_spec.CopyFrom(answer.model_spec)


def _signature_for(servable: Servable, name: str, method: str, settings: Settings) -> tuple[str, Any]:
    """The signature of a classify or regress call; its method name counts only when the server checks it."""
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    signature = servable.signatures[name]
    kind = {"classify": "classification", "regress": "regression"}[method]
    expected = _METHOD.format(method)
    if settings.check_method_names and signature.method_name != expected:
        raise invalid_argument(f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}")
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No {kind} inputs found in SignatureDef: {signature}")
    return name, signature


def _run_examples(
    servable: Servable, signature: Any, api: str, examples: Any, aliases: list[str], settings: Settings
) -> dict[str, np.ndarray]:
    serialized = _serialized_examples(examples)
    feeds = {signature.inputs["inputs"].name: serialized}
    arrays = servable.run(api, feeds, [signature.outputs[alias].name for alias in aliases], settings.timeout_ms)
    metrics.examples(servable.name, len(serialized))
    for alias, array in zip(aliases, arrays):
        if not array.shape or array.shape[0] != len(serialized):
            raise invalid_argument(
                f"Expected {alias} output batch size of {len(serialized)}. Got: {array.shape[0] if array.shape else 0}"
            )
    return dict(zip(aliases, arrays))


def _serialized_examples(source: Any) -> np.ndarray:
    """The examples of an Input message; a context is merged into each, the example's own features winning."""
    kind = source.WhichOneof("kind")
    if kind == "example_list_with_context":
        listed = source.example_list_with_context
        examples = [_with_context(example, listed.context) for example in listed.examples]
    else:
        examples = list(source.example_list.examples)
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), dtype=object)
    array[:] = [example.SerializeToString() for example in examples]
    return array


def _with_context(example: Any, context: Any) -> Any:
    merged = example_pb2.Example()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged


def metadata(servable: Servable, fields: list[str]) -> Any:
    """GetModelMetadataResponse; the only field there is, is signature_def."""
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != _SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
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
