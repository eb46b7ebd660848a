# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The TensorFlow runtime: how it is imported, and the session configuration that the flags ask for."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

from tfs_reference import textproto
from tfs_reference.flags import Parsed
from tfs_reference.status import invalid_argument


def prepare_import() -> None:
    """Let `tensorflow.python.*` and `tensorflow.core.*` be imported without the public API package around them.

    The session and the loader are all that a server needs; importing the whole API (Keras and all) would double the
    start time and cost 120 MB. So a bare package object takes the place of tensorflow/__init__.py.
    """
    if "tensorflow" in sys.modules:
        return
    for directory in sys.path:
        if (Path(directory or ".") / "tensorflow" / "python").is_dir():
            package = types.ModuleType("tensorflow")
            package.__path__ = [str(Path(directory or ".") / "tensorflow")]
            sys.modules["tensorflow"] = package
            return
    raise ImportError("no TensorFlow runtime on the path: set TFS_REFERENCE_RUNTIME to the directory that holds it")


def set_environment() -> None:
    """Settings the runtime reads once, when it is loaded."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the wheel has no GPU support; this keeps it from looking


def session_config(flags: Parsed) -> Any:
    """The ConfigProto of every session. Three fields are overwritten by flags, even where these keep their defaults."""
    file = flags.tensorflow_session_config_file
    config = textproto.read(file, "ConfigProto") if file else textproto.new("ConfigProto")
    intra_op, inter_op = _parallelism(flags)
    config.intra_op_parallelism_threads = intra_op
    config.inter_op_parallelism_threads = inter_op
    config.gpu_options.per_process_gpu_memory_fraction = flags.per_process_gpu_memory_fraction
    return config


def _parallelism(flags: Parsed) -> tuple[int, int]:
    """(intra-op, inter-op) threads; 0 leaves the choice to the runtime."""
    both = flags.tensorflow_session_parallelism
    intra_op, inter_op = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    if both > 0 and intra_op > 0 and inter_op > 0:
        raise invalid_argument(
            "Either configure 'tensorflow_session_parallelism' or "
            "'tensorflow_intra_op_parallelism'/'tensorflow_inter_op_parallelism' but not both."
        )
    if intra_op > 0 or inter_op > 0:
        return max(intra_op, 0), max(inter_op, 0)
    return both, both
