# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the lab's models and their runtime are. `make bench` has built both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("FLEET_CACHE") or ROOT / ".cache")
RUNTIME = CACHE / "tensorflow"
SERVED = CACHE / "lab" / "www" / "models"
FOLDER = CACHE / "lab" / "www" / "bench-models"
SILENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def runtime_environment() -> dict[str, str]:
    """The variables of a process that imports the lab's TensorFlow."""
    return {**os.environ, **SILENT, "PYTHONPATH": str(RUNTIME), "FLEET_CACHE": str(CACHE)}


def importable() -> None:
    """Let the programs that made the models be imported, for their samples; with TensorFlow, unless it is there."""
    os.environ.update(SILENT)
    sys.path.insert(0, str(ROOT / "lab" / "models"))
    sys.path.append(str(RUNTIME))  # last: what the environment has comes from there


def answer_of(command: Sequence[str], seconds: float) -> Any:
    """The JSON that a program with the lab's TensorFlow prints; if it fails, this program ends with its complaint."""
    done = subprocess.run(command, capture_output=True, env=runtime_environment(), timeout=seconds, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.decode(errors="replace"))
    return json.loads(done.stdout)


def loaded(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    """A function from the inputs by name to the outputs: a version in a session with one thread in each pool."""
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    session = tf.Session(config=config)
    signature = tf.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
    names = sorted(signature.inputs)
    fetches = [signature.outputs[name].name for name in sorted(signature.outputs)]
    run = session.make_callable(fetches, [signature.inputs[name].name for name in names])
    return lambda request: run(*(request[name] for name in names))
