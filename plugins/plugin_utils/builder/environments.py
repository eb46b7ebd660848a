# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The environment that models for a server are made faster in: a virtual environment of its minor, or an image."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

# Locked in requirements/optimizer-*.in for this Python and machine (make lock). TensorFlow's wheels for it begin with
# 2.12.
MINORS = tuple(range(12, 21))
PYTHON, MACHINE = "3.11", "x86_64"

_RELEASE = re.compile(r"2\.(\d{1,3})(\.\d{1,3})?")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}")
_VERSION, _IMAGE_NAME, _PYTHON_NAME = "model_builder_server_version", "model_builder_image", "model_builder_python"


class _Place(NamedTuple):
    python: str
    machine: str


def environment(version: Any, found: str, image: Any = "") -> dict[str, Any]:
    """Return the environment for a server's release. Raises WishError where there is none.

    ``found`` is what the builder's Python says of itself and its machine, such as ``3.11 x86_64``.
    """
    release = _RELEASE.fullmatch(version) if isinstance(version, str) else None
    if release is None:
        problem = f"is {described(version)}" if version else "is empty"
        raise WishError(_VERSION, problem, "give the release of the servers that are to run the model, such as 2.19.1")
    minor = f"2.{int(release[1])}"
    if image:
        if not (isinstance(image, str) and _IMAGE.fullmatch(image)):
            raise WishError(_IMAGE_NAME, "is not pinned by a digest", "write it as NAME@sha256:HEX")
        return {"kind": "image", "minor": minor, "requirements": ""}
    _has_wheels(int(release[1]), minor, _Place(*([*found.split(), "", ""][:2])))
    return {"kind": "environment", "minor": minor, "requirements": f"requirements-{minor}.txt"}


def _has_wheels(number: int, minor: str, place: _Place) -> None:
    remedy = f"name an image with TensorFlow {minor} by its digest in {_IMAGE_NAME}"
    if number not in MINORS:
        known = f"2.{MINORS[0]} to 2.{MINORS[-1]}"
        problem = f"is {minor}, and there are locked wheels of TensorFlow for {known}"
        raise WishError(_VERSION, problem, remedy)
    if not place.python:
        raise WishError(_PYTHON_NAME, "does not run on the builder", f"name a Python {PYTHON} of it, or {remedy}")
    if place.python != PYTHON:
        problem = f"is Python {place.python}, and the wheels are locked for {PYTHON}"
        raise WishError(_PYTHON_NAME, problem, f"name a Python {PYTHON} of the builder, or {remedy}")
    if place.machine != MACHINE:
        raise WishError(_PYTHON_NAME, f"runs on {place.machine or 'an unknown machine'}, not on {MACHINE}", remedy)
