# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the SavedModel of a logged model lies, and what is said of one that the server cannot load."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import mlmodel
from model_servers import MLMODEL

REMEDY = "log the exported model: mlflow.tensorflow.log_model(tf.saved_model.load(EXPORT), ...), a tf.Module"


@pytest.mark.parametrize(
    ("files", "text", "folder"),
    [
        (["MLmodel", "tf2model/saved_model.pb"], MLMODEL, "tf2model/"),
        (
            ["MLmodel", "data/model/saved_model.pb"],
            b"flavors: {tensorflow: {data: data, model_type: keras}}",
            "data/model/",
        ),
        (["MLmodel", "tf2model/saved_model.pb", "old/saved_model.pb"], MLMODEL, "tf2model/"),
        (["saved_model.pb"], None, ""),
        (["MLmodel", "saved_model.pb"], b"flavors: {tensorflow: {saved_model_dir: .}}", ""),
        (["MLmodel", "tf2model/saved_model.pb"], b"flavors: {tensorflow: {saved_model_dir: ./tf2model/}}", "tf2model/"),
    ],
)
def test_the_only_graph_is_found(files, text, folder):
    assert mlmodel.folder(files, text) == folder


@pytest.mark.parametrize(
    ("files", "text", "sentence"),
    [
        (
            ["MLmodel", "data/model.keras"],
            b"flavors: {tensorflow: {data: data}}",
            f"data/model.keras is a file of Keras, which TensorFlow Serving cannot load; {REMEDY}",
        ),
        (
            ["data/model.H5"],
            None,
            f"data/model.H5 is a file of Keras, which TensorFlow Serving cannot load; {REMEDY}",
        ),
        (
            ["MLmodel", "model.pkl"],
            b"flavors: {python_function: {}, sklearn: {}}",
            f"it holds no saved_model.pb and is a model of sklearn; {REMEDY}",
        ),
        (["x"], None, f"it holds no saved_model.pb; {REMEDY}"),
        (
            ["a/saved_model.pb", "saved_model.pb"],
            None,
            "saved_model.pb is in several places: a, its top; log one SavedModel alone",
        ),
        (["MLmodel"], b"[]", "its MLmodel is no description of a model; log the model again"),
        (["MLmodel"], b"flavors: 5", "its MLmodel is no description of a model; log the model again"),
        (["MLmodel"], b"\xff\x00", "its MLmodel is no description of a model; log the model again"),
        (["MLmodel"], b"[" * 20_000, "its MLmodel is no description of a model; log the model again"),
        (
            ["MLmodel"],
            b"a: !!python/object:os.system {}",
            "its MLmodel is no description of a model; log the model again",
        ),
        (["MLmodel"], b"#" * (mlmodel.MOST_BYTES + 1), "its MLmodel is no description of a model; log the model again"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_remedy(files, text, sentence):
    with pytest.raises(RefusalError) as refusal:
        mlmodel.folder(files, text)
    assert str(refusal.value) == sentence
    assert refusal.value.key == "source.model"


@pytest.mark.parametrize("more", ["{<<: 1}", "!!bool x", "!!int ''", "!!timestamp x"])
def test_values_that_nobody_asks_for_are_not_made(more):
    text = f"flavors: {{tensorflow: {{saved_model_dir: tf2model}}, other: {more}}}"
    files = ["MLmodel", "tf2model/saved_model.pb", "old/saved_model.pb"]
    assert mlmodel.folder(files, text.encode()) == "tf2model/"
