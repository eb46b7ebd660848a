# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TF-TRT: parts of the graph as TensorRT engines, for servers up to 2.17 with the same GPU model.

Not exercised: it needs a TensorFlow with TensorRT, which no wheel on PyPI is, hence an image of the server's minor.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from . import files
from .runtime import FailureError, part, sentence, tensorflow


def convert(model: Path, out: Path, recipe: dict[str, Any]) -> None:
    """Write the converted model. Raises FailureError where TensorRT or the GPU is missing."""
    tf = tensorflow()
    if not tf.config.list_physical_devices("GPU"):
        raise FailureError(
            f"TensorFlow {tf.__version__} sees no GPU here: TF-TRT is built on the GPU model that serves, "
            f"{recipe['gpu'][:80]}"
        )
    if not tf.sysconfig.get_build_info().get("is_tensorrt_build"):
        raise FailureError(
            f"TensorFlow {tf.__version__} is built without TensorRT: use an image of this minor that has it "
            "(model_builder_image)"
        )
    here = _gpus()
    if here != {recipe["gpu"]}:
        shown = ", ".join(sorted(here))[:200] or "no GPU that nvidia-smi knows"
        raise FailureError(f"the builder has {shown} and the servers {recipe['gpu'][:80]}: engines fit one GPU model")
    trt = part("tensorflow.python.compiler.tensorrt.trt_convert")
    try:
        converter = trt.TrtGraphConverterV2(input_saved_model_dir=str(model), precision_mode=recipe["precision"])
        converter.convert()
        converter.save(str(out))
    except Exception as error:  # of TensorFlow, TensorRT or CUDA
        raise FailureError(f"TF-TRT cannot convert the model: {sentence(error)}") from error
    extra = [name for name in files.sizes(model) if name.startswith("assets.extra/")]
    for name in extra:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes((model / name).read_bytes())


def _gpus() -> set[str]:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}
