# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The environment variables that a user may give to a server, and those that would not do what they seem to."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import wish_fields as fields
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

# Variables that cannot work beside what the plan sets: the reason, and what to write instead.
REFUSED = {
    # TensorFlow reads the two only while the session configuration holds 0; the plan always passes both flags.
    "TF_NUM_INTEROP_THREADS": (
        "is not read once the server gets its thread flags, and the plan always gives them",
        "set flags.tensorflow_inter_op_parallelism instead",
    ),
    "TF_NUM_INTRAOP_THREADS": (
        "is not read once the server gets its thread flags, and the plan always gives them",
        "set flags.tensorflow_intra_op_parallelism instead",
    ),
    # The name is absent from every TensorFlow runtime from 2.8 to 2.20.
    "TF_ENABLE_AUTO_MIXED_PRECISION": (
        "is read by no version of the server",
        "set flags.mixed_precision to 'bfloat16' for CPUs, or auto_mixed_precision in a session config file for GPUs",
    ),
    "CUDA_VISIBLE_DEVICES": ("would contradict the GPUs that the plan assigns", "list the GPUs under 'gpus' instead"),
    "CUDA_DEVICE_ORDER": ("would renumber the GPUs that the plan assigns", "leave it out; the plan sets PCI_BUS_ID"),
}

# TensorFlow compares these with the exact texts "true" and "false" and takes anything else for an error or a no.
EXACT_BOOLEANS = ("TF_FORCE_GPU_ALLOW_GROWTH",)


def wished(path: str, value: Any) -> dict[str, str]:
    """Check a mapping of variables to values and return it with every value as text."""
    return {name: _variable(f"{path}.{name}", name, entry) for name, entry in fields.mapping(path, value).items()}


def _variable(path: str, name: str, value: Any) -> str:
    if not fields.ENVIRONMENT_NAME.fullmatch(name):
        raise WishError(
            path, "cannot be the name of a variable", "use letters, digits and '_', not beginning with a digit"
        )
    if name in REFUSED:
        raise WishError(path, *REFUSED[name])
    if isinstance(value, bool):
        raise WishError(
            path,
            f"is {described(value)}, which programs read in different ways",
            f'write the text that is meant in quotes, such as "{str(value).lower()}" or "{int(value)}"',
        )
    if not isinstance(value, (str, int, float)):
        raise WishError(path, f"is {described(value)}", "give a text or a number")
    text = str(value)
    if any(sign in text for sign in "\n\r\0"):
        raise WishError(path, "holds a line break", "give a value on one line")
    if name in EXACT_BOOLEANS and text not in ("true", "false"):
        raise WishError(
            path,
            f"is {described(value)}, which TensorFlow does not understand",
            'write "true" or "false" in lower case and in quotes',
        )
    return text
