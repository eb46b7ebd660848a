# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The instances of this scenario, at the ports that its inventory gives them."""

from __future__ import annotations

import pytest


@pytest.fixture
def ranker(serving):
    return serving("ranker", 9501)


@pytest.fixture
def digits(serving):
    return serving("digits", 9511)
