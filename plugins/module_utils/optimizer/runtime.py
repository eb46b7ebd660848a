# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow and NumPy, imported when they are first needed: what supervises does without them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


class FailureError(Exception):
    """Something cannot be done. The text is a sentence for the user."""


def part(name: str) -> Any:
    """Return a module of TensorFlow's environment. Raises FailureError where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        raise FailureError(f"{name} is missing in the builder's environment: install it with the role") from error


@cache
def tensorflow() -> Any:
    """Return TensorFlow."""
    found = part("tensorflow")
    found.get_logger().setLevel("ERROR")
    return found


@cache
def numpy() -> Any:
    """Return NumPy."""
    return part("numpy")


def release() -> tuple[int, int]:
    """Return the minor of the TensorFlow that runs here."""
    first, second = tensorflow().__version__.split(".")[:2]
    return int(first), int(second)


def sentence(error: BaseException) -> str:
    """Return an error of TensorFlow, which may be pages of C++, as one sentence."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = (line.strip() for line in str(text).splitlines())
    first = next((line for line in lines if line and not set(line) <= set("=-*")), type(error).__name__)
    return printable(first).rstrip(". ")


def printable(text: str) -> str:
    """Return a text of a model or of TensorFlow for a message: printable and not too long."""
    return "".join(char if char.isprintable() else " " for char in text)[:300]
