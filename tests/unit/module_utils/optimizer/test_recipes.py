# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What recipes need of a server, and which model and which release they are refused for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.optimizer import recipes

FLOAT = {"dtype": "DT_FLOAT", "shape": [-1, 4]}
TEXT = {"dtype": "DT_STRING", "shape": [-1]}


def signature(**more: Any) -> dict[str, Any]:
    return {"inputs": {"x": FLOAT}, "outputs": {"y": FLOAT}, "parses_examples": False, **more}


def model(**more: Any) -> dict[str, Any]:
    plain = {"has_random": False, "has_state": False, "already_frozen": False, "variables_mb": 9.0, "graph_mb": 1.0}
    return {**plain, "signatures": {"serving_default": signature()}, **more}


TWO = {"classify": signature(inputs={"inputs": TEXT}, parses_examples=True), "serving_default": signature()}
XLA = {"kind": "xla", "how": "attribute", "device": "cpu"}
LITE = {"kind": "tflite_int8"}
TRT = {"kind": "tf_trt", "gpu": "NVIDIA A10", "precision": "FP16"}


@pytest.mark.parametrize(
    ("recipe", "held", "version", "why"),
    [
        ({"kind": "freeze"}, model(), (2, 12, 0), ""),
        (
            {"kind": "freeze"},
            model(has_random=True),
            (2, 19, 1),
            "the model answers at random, so no candidate's answers can be compared with its own",
        ),
        (
            {"kind": "mixed_precision"},
            model(has_state=True),
            (2, 19, 1),
            "the model keeps state between requests, so no candidate's answers can be compared with its own",
        ),
        (
            {"kind": "freeze"},
            model(already_frozen=True),
            (2, 19, 1),
            "the model has no variables, so there is nothing to freeze",
        ),
        ({"kind": "freeze"}, model(variables_mb=2046.0), (2, 19, 1), ""),
        (
            {"kind": "freeze"},
            model(variables_mb=2047.0),
            (2, 19, 1),
            "the frozen model would have 2048 MB in one file, and a graph must stay below 2 GB: serve it with its "
            "variables",
        ),
        ({"kind": "mixed_precision"}, model(), (2, 15, 1), ""),
        (
            {"kind": "mixed_precision"},
            model(),
            (2, 15, 0),
            "server 2.15.0 has no --mixed_precision, which came with 2.15.1",
        ),
        ({**XLA, "device": "gpu"}, model(), (2, 18, 0), ""),
        (
            {**XLA, "device": "gpu"},
            model(),
            (2, 17, 1),
            "server 2.17.1 has no --xla_gpu_compilation_enabled, which came with 2.18.0",
        ),
        (
            XLA,
            model(signatures={"classify": TWO["classify"]}),
            (2, 19, 1),
            "every signature of the model takes or gives texts, or parses examples, which XLA cannot compile",
        ),
        ({**XLA, "how": "flags"}, model(signatures={"classify": TWO["classify"]}), (2, 19, 1), ""),
        (LITE, model(), (2, 19, 1), ""),
        (
            LITE,
            model(signatures=TWO),
            (2, 19, 1),
            "a model.tflite has one signature and the model has 2 (classify, serving_default): name the one that "
            "callers use in recipe.signature; the others are lost",
        ),
        ({**LITE, "signature": "serving_default"}, model(signatures=TWO), (2, 19, 1), ""),
        (
            {**LITE, "signature": "classify"},
            model(signatures=TWO),
            (2, 19, 1),
            "signature classify parses examples (tf.Example), which TFLite cannot do: send it tensors, or leave it",
        ),
        (
            {**LITE, "signature": "gone"},
            model(signatures=TWO),
            (2, 19, 1),
            "the model has no signature gone; it has classify, serving_default",
        ),
        (TRT, model(), (2, 17, 1), ""),
        (TRT, model(), (2, 18, 0), "server 2.18.0 is built without TensorRT, whose last release is 2.17"),
        (
            {"kind": "tf_trt", "precision": "FP16"},
            model(),
            (2, 17, 1),
            "recipe.gpu has to name the GPU model of the servers, which the builder must have too",
        ),
    ],
)
def test_a_recipe_is_refused_for_what_the_model_and_the_release_are(recipe, held, version, why):
    assert recipes.refusal(recipe, held, version) == why


@pytest.mark.parametrize(
    ("recipe", "flags", "environment", "touches"),
    [
        ({"kind": "freeze"}, {}, {}, False),
        (XLA, {"xla_cpu_compilation_enabled": True}, {}, False),
        (
            {**XLA, "how": "flags"},
            {"xla_cpu_compilation_enabled": True},
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"},
            True,
        ),
        (
            {**XLA, "how": "flags", "device": "gpu"},
            {"xla_gpu_compilation_enabled": True},
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"},
            True,
        ),
        ({"kind": "mixed_precision"}, {"mixed_precision": "bfloat16"}, {}, True),
        (LITE, {"prefer_tflite_model": True}, {}, True),
        (TRT, {}, {}, False),
    ],
)
def test_every_recipe_says_what_it_needs_and_whom_that_touches(recipe, flags, environment, touches):
    found = recipes.needs(recipe)
    assert (found.server_flags, found.environment, found.touches_others) == (flags, environment, touches)
    assert found.others


def test_a_survey_offers_what_the_release_can_run():
    offered = recipes.candidates(model(signatures=TWO), (2, 14, 1))
    possible = {each["recipe"]["kind"]: each["possible"] for each in offered}
    assert possible == {
        "freeze": True,
        "xla": True,
        "mixed_precision": False,
        "tflite_float": True,
        "tflite_int8": True,
    }
    lost = {each["recipe"]["kind"]: each["lost_signatures"] for each in offered}
    assert lost["tflite_int8"] == ["classify"]
    assert lost["freeze"] == []
