# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Metadata of models, as a server gives them over REST, and the signatures in them."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import signature


def tensors(**named: tuple[str, list[int] | None]) -> dict[str, Any]:
    """Return TensorInfo by name, of (type, shape); None for an unknown rank."""
    return {
        name: {
            "dtype": dtype,
            "tensor_shape": {"unknown_rank": True}
            if shape is None
            else {"dim": [{"size": str(size), "name": ""} for size in shape], "unknown_rank": False},
        }
        for name, (dtype, shape) in named.items()
    }


def metadata(
    inputs: dict[str, Any], outputs: dict[str, Any], name: str = "serving_default", **more: Any
) -> dict[str, Any]:
    """Return the answer to /v1/models/MODEL/metadata for a model with one signature."""
    entry = {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict", **more}
    return {
        "model_spec": {"name": "m", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {name: entry}}},
    }


RANKER = metadata(
    tensors(user=("DT_STRING", [-1]), age=("DT_INT32", [-1]), features=("DT_FLOAT", [-1, 2])),
    tensors(scores=("DT_FLOAT", [-1])),
)
DIGITS = metadata(tensors(image=("DT_FLOAT", [-1, 2])), tensors(label=("DT_INT64", [-1]), share=("DT_FLOAT", [-1, 3])))
FIXED = metadata(tensors(x=("DT_FLOAT", [2, 2])), tensors(y=("DT_FLOAT", [3])), "fixed")


def known(**models: dict[str, Any]) -> signature.Known:
    """Return the signatures of models; of a ranker and of digits by default."""
    return signature.known(models or {"ranker": RANKER, "digits": DIGITS})
