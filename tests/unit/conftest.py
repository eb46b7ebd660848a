# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import the collection by its own name, from the clone, draw the same examples, and take their time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import patience
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

REPOSITORY = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(REPOSITORY / "collections"))
# The TensorFlow runtime comes last: it brings older or newer twins of packages that the venv pins.
sys.path.append(os.environ.get("LAB_RUNTIME") or str(REPOSITORY / ".cache" / "tensorflow"))


def pytest_configure(config):
    repeatable(config)
    patience.stretch()


def repeatable(config):
    """Draw the same examples in every run, and let no limit of time end one.

    A run says something of the change under test, and busy machines take many times as long. With
    `--hypothesis-profile=default` others are drawn.
    """
    settings.register_profile(
        "repeatable",
        derandomize=True,
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("repeatable")
        # Else numbers and words of all the code that happens to be imported would be drawn as well, and so other
        # examples after a change elsewhere, in another order of tests, or of one file alone.
        nothing = providers.Constants()
        providers._get_local_constants = lambda: nothing
