# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the SavedModel lies in a model of MLflow: from its description MLmodel and the names of its files."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.archive_entries import listed, shown
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

NAME = "MLmodel"
GRAPH = "saved_model.pb"
# A signature with thousands of columns takes some hundred kilobytes.
MOST_BYTES = 512 * 1024
# Formats of Keras that the server cannot load.
KERAS = (".keras", ".h5", ".hdf5")
REMEDY = "log the exported model: mlflow.tensorflow.log_model(tf.saved_model.load(EXPORT), ...), a tf.Module"

_MOST_NAMED = 60


def flavors(text: bytes) -> dict[str, Mapping[str, Any]]:
    """Return what MLmodel says of each flavor. Raise RefusalError for anything else than such a description."""
    try:
        # Texts are all that is read of it: numbers, dates and merged mappings may take minutes and gigabytes to make,
        # and raise errors of every kind.
        found = yaml.load(text, Loader=yaml.BaseLoader) if len(text) <= MOST_BYTES else None
    except (yaml.YAMLError, ValueError, RecursionError):
        found = None
    entries = found.get("flavors") if isinstance(found, Mapping) else None
    if not isinstance(entries, Mapping):
        raise RefusalError(f"its {NAME} is no description of a model", "log the model again", "source.model")
    return {str(name): entry if isinstance(entry, Mapping) else {} for name, entry in entries.items()}


def folder(files: Collection[str], text: bytes | None) -> str:
    """Return the folder of the only SavedModel, empty or with a slash at its end.

    ``files`` are the names of all files, ``text`` is MLmodel where there is one. Raise RefusalError where there is no
    SavedModel, or more than one.
    """
    known = flavors(text) if text is not None else {}
    said = known.get("tensorflow", {}).get("saved_model_dir")
    within = f"{posixpath.normpath(said)}/" if isinstance(said, str) and said.strip("./") else ""
    graphs = [name for name in files if posixpath.basename(name) == GRAPH and name.startswith(within)]
    if len(graphs) > 1:
        places = listed([posixpath.dirname(name) or "its top" for name in sorted(graphs)])
        problem = f"{GRAPH} is in several places: {places}"
        raise RefusalError(problem, "log one SavedModel alone", "source.model")
    if graphs:
        return graphs[0][: -len(GRAPH)]
    keras = sorted(name for name in files if name.lower().endswith(KERAS))
    if keras:
        problem = f"{shown(keras[0])} is a file of Keras, which TensorFlow Serving cannot load"
        raise RefusalError(problem, REMEDY, "source.model")
    others = ", ".join(told(name, _MOST_NAMED) for name in sorted(known)[:5] if name != "python_function")
    kind = f" and is a model of {others}" if others else ""
    raise RefusalError(f"it holds no {GRAPH}{kind}", REMEDY, "source.model")
