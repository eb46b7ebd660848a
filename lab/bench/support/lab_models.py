# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the lab's models and their runtime are. `make bench` has built both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
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
