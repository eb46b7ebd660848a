# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.memory_guard import over


@pytest.mark.parametrize(
    ("told", "high", "most", "sentence"),
    [
        ({"rss_mb": 950.0, "available_mb": 5000.0}, 1000, 1100, ""),
        (
            {"rss_mb": 951.0, "available_mb": 5000.0},
            1000,
            1100,
            "its server took 951 MB, and the plan limits it to 1,000 MB",
        ),
        (
            {"rss_mb": 1090.0, "available_mb": 5000.0},
            None,
            1100,
            "its server took 1,090 MB, and the plan limits it to 1,100 MB",
        ),
        ({"rss_mb": 90_000.0, "available_mb": 256.0}, None, None, ""),
        (
            {"rss_mb": 10.0, "available_mb": 255.0},
            1000,
            1100,
            "the host had 255 MB of memory left, less than 256 MB",
        ),
        ({"rss_mb": None, "available_mb": None}, 1000, 1100, ""),
        ({}, 1000, 1100, ""),
    ],
)
def test_a_trial_ends_before_the_limit(told, high, most, sentence):
    assert over(told, {"high_mb": high, "max_mb": most}) == sentence
