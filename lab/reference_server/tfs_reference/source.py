# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds versions: lists every base path periodically and tells the manager which versions are wanted."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Any

from tfs_reference import log, process
from tfs_reference.status import StatusError, invalid_argument

# What absl::SimpleAtoi takes: white space around, a sign.
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,19})[ \t\n\v\f\r]*")
Aspire = Callable[[str, dict[int, str]], None]


class FileSystemSource:
    """Polls the base paths of all models in one pass; the pass stops at the first error and then changes nothing.

    poll_seconds: above 0 a period; 0 polls once; below 0 never polls.
    """

    def __init__(self, aspire: Aspire, poll_seconds: int) -> None:
        self._aspire = aspire
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._models: list[Any] = []

    def start(self) -> None:
        if self._poll_seconds >= 0:
            process.start_thread(self._run, "FileSystemStoragePathSource")

    def set_models(self, models: list[Any]) -> None:
        """Watch these ModelConfig messages from now on; models that are no longer listed lose all versions."""
        with self._lock:
            listed = {model.name for model in models}
            for former in self._models:
                if former.name not in listed:
                    self._aspire(former.name, {})
            self._models = models

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with self._lock:
                self._poll()
            if not self._poll_seconds:
                return
            pause.wait(self._poll_seconds)

    def _poll(self) -> None:
        try:
            found = {model.name: wanted_versions(model) for model in self._models}
        except StatusError as error:
            log.error(f"FileSystemStoragePathSource encountered a filesystem access error: {error.message}")
            return
        for name, versions in found.items():
            self._aspire(name, versions)


def wanted_versions(model: Any) -> dict[int, str]:
    """Version -> path of what the model's policy selects among its base path's children; raises StatusError."""
    available = _children_by_version(model)
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice") or "latest"
    if choice == "all":
        wanted = available
    elif choice == "specific" and not policy.specific.versions:
        log.warning(f"No specific versions requested for servable {model.name}.")
        return {}
    elif choice == "specific":
        wanted = {number: path for number, path in available.items() if number in policy.specific.versions}
        _warn_of_missing(model.name, set(policy.specific.versions) - available.keys())
    else:
        newest = sorted(available, reverse=True)[: max(policy.latest.num_versions, 1)]
        wanted = {number: available[number] for number in newest}
    if not wanted:
        log.warning(
            f"No versions of servable {model.name} found under base path {model.base_path}. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?"
        )
    return wanted


def _children_by_version(model: Any) -> dict[int, str]:
    try:
        children = sorted(os.listdir(model.base_path))
    except OSError as error:
        raise invalid_argument(
            f"Could not find base path {model.base_path} for servable {model.name} with error "
            f"NOT_FOUND: {model.base_path} {os.strerror(error.errno)}"
        ) from None
    found: dict[int, str] = {}
    for child in children:
        version = integer(child)
        if version is None:
            continue
        if version in found:
            log.warning(
                f"Duplicate version directories detected. Version {version} will be loaded from {child}, "
                f"{os.path.basename(found[version])} will be ignored."
            )
        found[version] = os.path.join(model.base_path, child)
    return found


def integer(text: str) -> int | None:
    """The signed 64-bit integer that a text is, as upstream reads names and paths; None where it is none."""
    match = _INTEGER.fullmatch(text)
    value = int(match[1] + match[2]) if match else None
    return value if value is not None and -(2**63) <= value < 2**63 else None


def _warn_of_missing(name: str, missing: set[int]) -> None:
    for version in sorted(missing):
        log.warning(
            f"Version {version} of servable {name}, which was requested to be served as a 'specific' version in the "
            "servable's version policy, was not found in the file system"
        )
