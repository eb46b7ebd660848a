# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model in a session, as a server has it: graph, variables, tables and nothing of Keras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import graphs
from .runtime import FailureError, part, sentence, tensorflow


@contextlib.contextmanager
def loaded(model: Path, recipe: dict[str, Any] | None = None) -> Iterator[tuple[Any, Any]]:
    """Load a model into a session; yield the session and the meta graph. Raises FailureError if it does not load."""
    tf = tensorflow()
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph, config=_config(recipe)) as session:
        try:
            found = tf.compat.v1.saved_model.loader.load(session, [graphs.SERVE], str(model))
        except Exception as error:  # of TensorFlow, of protobuf, of Python: whatever a broken model sets off
            raise FailureError(f"TensorFlow {tf.__version__} does not load the model: {sentence(error)}") from error
        yield session, found


def _config(recipe: dict[str, Any] | None) -> Any:
    """Return the session's configuration as the server has it with the recipe's flags."""
    tf = tensorflow()
    config = tf.compat.v1.ConfigProto()
    config.gpu_options.allow_growth = True
    if recipe and recipe["kind"] == "mixed_precision":
        # What --mixed_precision=bfloat16 sets (saved_model_bundle_factory.cc).
        rewriter = part("tensorflow.core.protobuf.rewriter_config_pb2").RewriterConfig
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewriter.ON
    return config
