# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version directory: its files, bounded, and what of them a candidate takes over."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from .runtime import FailureError

GRAPH = "saved_model.pb"
TEXT_GRAPH = "saved_model.pbtxt"
FINGERPRINT = "fingerprint.pb"  # a digest of the original, which a candidate's would not match
VARIABLES = "variables"
WARMUP = "assets.extra/tf_serving_warmup_requests"
MIB = 1024 * 1024
MOST_FILES = 10_000
# CodedInputStream reads no larger message.
LARGEST_GRAPH = 2**31 - 1


def sizes(model: Path) -> dict[str, int]:
    """Return the files of a model with their sizes. Raises FailureError for one that is no plain tree."""
    if not model.is_dir():
        raise FailureError(f"{model} is no directory")
    found: dict[str, int] = {}
    for path in _walk(model):
        status = path.lstat()
        name = str(path.relative_to(model))
        if not stat.S_ISREG(status.st_mode):
            raise FailureError(f"{name[:200]} in the model is neither a file nor a directory")
        found[name] = status.st_size
        if len(found) > MOST_FILES:
            raise FailureError(f"the model has more than {MOST_FILES} files")
    if GRAPH not in found:
        words = (
            f"it has {TEXT_GRAPH}, which is not read here: save it as {GRAPH}" if TEXT_GRAPH in found else "give one"
        )
        raise FailureError(f"the model has no {GRAPH}: {words}")
    if found[GRAPH] > LARGEST_GRAPH:
        raise FailureError(f"{GRAPH} is larger than 2 GB")
    return found


def _walk(model: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(model):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in [*names, *links])


def below(found: dict[str, int], folder: str) -> float:
    """Return the MB of the files in a folder of a model."""
    return round(sum(size for name, size in found.items() if name.startswith(f"{folder}/")) / MIB, 3)


def size_mb(model: Path) -> float:
    """Return the MB of a model."""
    return round(sum(sizes(model).values()) / MIB, 3)


def take_over(model: Path, out: Path, without: tuple[str, ...]) -> None:
    """Copy a model's files to a candidate, without some folders or files."""
    for name in sorted(sizes(model)):
        if name not in without and name.partition("/")[0] not in without:
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model / name, target)
