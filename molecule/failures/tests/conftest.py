# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong, the instance that serves goes on serving."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def goes_on_serving(main, known):
    """Whatever a test provokes, the process stays, or comes back, and gives the known answer."""
    yield
    sample = known("digits")
    answer = main.predict("digits", sample["request"])["predictions"]
    assert [one["class_id"] for one in answer] == [one["class_id"] for one in sample["answers"]["1"]["predictions"]]
    assert main.show("ActiveState") == "active"
