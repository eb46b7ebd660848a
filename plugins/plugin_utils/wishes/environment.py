# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The environment variables that users may give to a server, and those refused because they would mislead."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind

from . import checks as fields

# Variables that conflict with the plan: the reason, and what to write instead.
REFUSED = {
    # TensorFlow reads these two only if the session configuration holds 0; the plan always passes both flags.
    "TF_NUM_INTEROP_THREADS": (
        "is not read once the server gets its thread flags, and the plan always gives them",
        "set flags.tensorflow_inter_op_parallelism instead",
    ),
    "TF_NUM_INTRAOP_THREADS": (
        "is not read once the server gets its thread flags, and the plan always gives them",
        "set flags.tensorflow_intra_op_parallelism instead",
    ),
    # The name is absent from the TensorFlow runtime of every surveyed release.
    "TF_ENABLE_AUTO_MIXED_PRECISION": (
        "is read by no version of the server",
        "set flags.mixed_precision to 'bfloat16' for CPUs, or auto_mixed_precision in a session config file for GPUs",
    ),
    "CUDA_VISIBLE_DEVICES": ("would contradict the GPUs that the plan assigns", "list the GPUs under 'gpus' instead"),
    "CUDA_DEVICE_ORDER": ("would renumber the GPUs that the plan assigns", "leave it out; the plan sets PCI_BUS_ID"),
}

# The kernel accepts 128 KiB for one variable with its name; no service's credential comes near half of that.
LONGEST_VALUE = 65_536
LONGEST_NAME = 255
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# TensorFlow compares these with exactly "true" and "false", and treats anything else as an error or as false.
EXACT_BOOLEANS = ("TF_FORCE_GPU_ALLOW_GROWTH",)


def wished(path: str, value: Any) -> dict[str, str]:
    """Check a mapping of variables to values and return it with every value as text."""
    result = {}
    for number, (name, entry) in enumerate(fields.mapping(path, value).items(), start=1):
        # "NAME=value" instead of "NAME: value" turns the value into a name.
        if not fields.ENVIRONMENT_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            problem = f"holds a name, the {number}. one, that no variable can have"
            raise WishError(path, problem, "write 'NAME: value', with letters, digits and '_' in the name")
        result[name] = _variable(f"{path}.{name}", name, entry)
    return result


def _variable(path: str, name: str, value: Any) -> str:
    if name in REFUSED:
        raise WishError(path, *REFUSED[name])
    if isinstance(value, bool):
        raise WishError(
            path,
            "is a boolean, which programs read in different ways",
            f'write the text that is meant in quotes, such as "{str(value).lower()}" or "{int(value)}"',
        )
    if not isinstance(value, (str, int, float)):
        raise WishError(path, f"is {kind(value)}", "give a text or a number")
    text = str(value)
    if _CONTROL.search(text):
        # systemd silently drops an assignment with control characters other than tabs.
        raise WishError(path, "holds a line break or another control character", "give a value on one line")
    if len(text.encode()) > LONGEST_VALUE:
        raise WishError(path, f"is longer than {LONGEST_VALUE} bytes", "put it into a file")
    if name == "LD_PRELOAD":
        _libraries(path, text)
    if name in EXACT_BOOLEANS and text not in ("true", "false"):
        raise WishError(
            path,
            "is neither of the two words that TensorFlow understands",
            'write "true" or "false" in lower case and in quotes',
        )
    return text


def _libraries(path: str, text: str) -> None:
    """Check the libraries to preload, whose paths are bind-mounted into the root of a server that has its own."""
    for library in filter(None, re.split(r"[ :]+", text)):
        fields.directory(path, library)
