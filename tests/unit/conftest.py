# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the collection by its own name, from the clone, draw the same examples, and take their time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import patience
import repeatable

REPOSITORY = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(REPOSITORY / "collections"))
# The TensorFlow runtime comes last: it brings older or newer twins of packages that the venv pins.
sys.path.append(os.environ.get("LAB_RUNTIME") or str(REPOSITORY / ".cache" / "tensorflow"))


def pytest_configure(config):
    """Draw the same examples in every run: one says something of the change under test.

    With `--hypothesis-profile=default` others are drawn.
    """
    repeatable.register()
    if not config.getoption("--hypothesis-profile"):
        repeatable.load()
    patience.stretch()
