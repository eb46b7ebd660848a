# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One run of a signature on made-up input, which shows whether it runs at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import graphs
from .runtime import FailureError, numpy, sentence, tensorflow
from .sessions import loaded

# A free dimension for a trial. One row would hide what fails for several.
ROWS = 2


def run_once(model: Path, names: Iterable[str]) -> None:
    """Load a model and run signatures once. Raises FailureError for what does not run."""
    with loaded(model) as (session, graph):
        for name in names:
            signature = graph.signature_def[name]
            feeds = {tensor.name: _zeros(tensor) for tensor in signature.inputs.values()}
            wanted = [each for tensor in signature.outputs.values() for each in graphs.tensor_names(tensor)]
            try:
                session.run(wanted, feeds)
            except Exception as error:  # of TensorFlow, which has a class for each status and raises others too
                raise FailureError(f"signature {name} does not run: {sentence(error)}") from error


def _zeros(tensor: Any) -> Any:
    shape = [ROWS if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim]
    dtype = tensorflow().as_dtype(tensor.dtype)
    kind = object if dtype == tensorflow().string else dtype.as_numpy_dtype
    return numpy().full(shape, b"", kind) if kind is object else numpy().zeros(shape, kind)
