# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that an instance reads: its configuration, and the versions of its models on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..disk import plain_files
from ..host.sysfs import Tree
from ..visible_text import visible_lines

# Flags of the server whose files hold no secret. Those of TLS hold keys, and are never read.
CONFIGURATION = {
    "batching_parameters_file": "batching.config",
    "model_config_file": "models.config",
    "monitoring_config_file": "monitoring.config",
    "tensorflow_session_config_file": "session.config",
}
MOST_BYTES = 64 << 10
MOST_VERSIONS = 8
# Files and folders of one version, and the time to look at them: a folder may be a whole disk, or one that hangs.
MOST_ENTRIES, LONGEST_S = 5000, 2.0
WARMUP = "assets.extra/tf_serving_warmup_requests"
BATCHING = "batching_params.pbtxt"
GRAPHS = ("saved_model.pb", "saved_model.pbtxt")


def configuration(tree: Tree, instance: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the configuration that the plan names. Raises OSError."""
    paths = {name: instance.get("flags", {}).get(flag) for flag, name in CONFIGURATION.items()}
    return {name: _text(tree, path) for name, path in paths.items() if path}


def changed(tree: Tree, instance: Mapping[str, Any]) -> dict[str, float]:
    """Return when each file of the configuration was written, in UNIX seconds."""
    paths = {name: instance.get("flags", {}).get(flag) for flag, name in CONFIGURATION.items()}
    return {name: os.stat(tree.path(path)).st_mtime for name, path in paths.items() if path and tree.exists(path)}


def _text(tree: Tree, path: str) -> str:
    return visible_lines(plain_files.read(tree.path(path), MOST_BYTES).decode("utf-8", "replace"))


def models(tree: Tree, instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return by model what lies in the folder that the server reads it from."""
    config = instance.get("model_config", {}).get("model_config_list", {}).get("config", ())
    return {each["name"]: _model(tree, each["base_path"]) for each in config if each.get("base_path")}


def _model(tree: Tree, base: str) -> dict[str, Any]:
    numbers = sorted(int(name) for name in tree.names(base) if name.isdecimal() and name.isascii() and len(name) < 20)
    versions = {str(number): _version(tree, f"{base}/{number}") for number in numbers[-MOST_VERSIONS:]}
    return {"base_exists": tree.exists(base), "versions": versions}


def _version(tree: Tree, folder: str) -> dict[str, Any]:
    return {
        "size_mb": size_mb(tree, folder),
        "warmup": tree.exists(f"{folder}/{WARMUP}"),
        "batching_params": tree.exists(f"{folder}/{BATCHING}"),
        "complete": any(tree.exists(f"{folder}/{name}") for name in GRAPHS),
    }


def size_mb(tree: Tree, folder: str) -> float | None:
    """Return the size of the files below a folder in MiB; None where there are too many to look at."""
    end, total, seen = time.monotonic() + LONGEST_S, 0, 0
    for size in _sizes([tree.path(folder)]):
        total, seen = total + size, seen + 1
        if seen >= MOST_ENTRIES or time.monotonic() > end:
            return None
    return round(total / (1 << 20), 2)


def _sizes(folders: list[str]) -> Iterator[int]:
    """Yield the size of each file below some folders, and 0 for each folder; links are not followed."""
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_folder:
                        folders.append(entry.path)
                    yield 0 if is_folder else entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
