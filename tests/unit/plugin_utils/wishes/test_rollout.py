# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `rollout`: its defaults, and every refusal in one sentence."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.rollout import DEFAULTS, FIELDS, rollout
from refusing import refusal

PATH = "tfserving_models[0].rollout"


def test_an_empty_wish_is_complete():
    assert rollout(PATH, {}) == DEFAULTS
    assert set(DEFAULTS) == set(FIELDS)


def test_the_defaults_are_values_that_the_checks_accept():
    durations = {key for key, value in DEFAULTS.items() if isinstance(value, float) and key != "error_ceiling"}
    given = {key: f"{value:.0f}s" if key in durations else value for key, value in DEFAULTS.items()}
    assert rollout(PATH, given) == DEFAULTS


def test_a_wish_as_people_write_it():
    found = rollout(
        PATH,
        {
            "steps": ["10", 100],
            "interval": "1.5m",
            "slow_share_over": "100ms",
            "progress_deadline": "1h",
            "gates": {"slow": "dry_run"},
            "canary": ["gpu-a01"],
            "auto_promote": "false",
            "error_ratio": "2.5",
        },
    )
    assert (found["steps"], found["interval"], found["slow_share_over"]) == ([10, 100], 90.0, 0.1)
    assert (found["progress_deadline"], found["canary"], found["auto_promote"]) == (3600.0, ["gpu-a01"], False)
    assert found["gates"] == {"restarts": "critical", "errors": "critical", "slow": "dry_run", "golden": "critical"}
    assert found["error_ratio"] == 2.5


def test_defaults_are_not_shared_between_wishes():
    rollout(PATH, {})["steps"].append(1)
    assert rollout(PATH, {})["steps"] == [1, 5, 25, 50, 100]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "is a list; give a roll-out as a mapping with the keys steps, interval, min_samples, min_healthy_time,"),
        ({"step": [100]}, ".step: is not a key of a roll-out; did you mean 'steps'?"),
        ({"steps": [5, 1, 100]}, ".steps[1]: falls from 5 to 1; let each step be larger than the last"),
        ({"steps": [1, 50]}, ".steps: ends at 50; end with 100, which is the whole traffic"),
        ({"steps": [1, 1, 100]}, ".steps[1]: names 1 a second time; leave it out"),
        ({"steps": [0, 100]}, ".steps[0]: is the number 0; give a whole percentage of the traffic from 1 to 100"),
        ({"steps": [101]}, ".steps[0]: is the number 101; give a whole percentage of the traffic from 1 to 100"),
        ({"steps": []}, ".steps: is an empty list; name at least one"),
        ({"steps": 100}, ".steps: is a number; give a list"),
        ({"interval": 60}, ".interval: is the number 60; give a number with its unit: 100ms, 60s, 5m or 1h"),
        ({"interval": "60 s"}, ".interval: is a string; give a number with its unit: 100ms, 60s, 5m or 1h"),
        ({"interval": "1d"}, ".interval: is the string '1d'; give a number with its unit: 100ms, 60s, 5m or 1h"),
        ({"interval": "0s"}, ".interval: is the string '0s'; give 1s to 168h"),
        ({"interval": "200h"}, ".interval: is the string '200h'; give 1s to 168h"),
        ({"slow_share_over": "0s"}, ".slow_share_over: is the string '0s'; give 1ms to 1h"),
        ({"min_healthy_time": "25h"}, ".min_healthy_time: is the string '25h'; give 0s to 24h"),
        (
            {"progress_deadline": "60s"},
            ".progress_deadline: is 1m, and min_healthy_time and interval take 1.5m together; set it to 1.5m or more",
        ),
        ({"min_samples": 0}, ".min_samples: is the number 0; give a count of calls from 1 to 1000000"),
        (
            {"error_ratio": 1},
            ".error_ratio: is the number 1; give how many times as many errors are too many, a number from 1.5 to 1000",
        ),
        (
            {"error_ceiling": 1},
            ".error_ceiling: is the number 1; give a share of the calls, 0.01 for 1 %, from 0.0001 to 0.5",
        ),
        (
            {"on_inconclusive": "promot"},
            ".on_inconclusive: is the string 'promot'; did you mean 'promote'?",
        ),
        ({"auto_revert": "perhaps"}, ".auto_revert: is the string 'perhaps'; give true or false"),
        ({"baseline": "controll"}, ".baseline: is the string 'controll'; did you mean 'control'?"),
        (
            {"baseline": "production"},
            ".baseline: is the string 'production'; leave it out: the only baseline is control, hosts of the old"
            " version",
        ),
        ({"gates": {"error": "dry_run"}}, ".gates.error: is not a key of gates; did you mean 'errors'?"),
        (
            {"gates": {"errors": "warn"}},
            ".gates.errors: is the string 'warn'; choose one of critical, dry_run",
        ),
        ({"canary": 0}, ".canary: is the number 0; give a count of hosts, or their names from 1 to 1000"),
        ({"canary": "gpu-1"}, ".canary: is a string; give a count of hosts, or a list of their names"),
        ({"canary": ["gpu-1", "gpu-1"]}, ".canary[1]: names gpu-1 a second time; leave it out"),
        ({"canary": [1]}, ".canary[0]: is a number; give a text on one line"),
        ({"retry": 1}, ".retry: is the number 1; give true or false"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(value, sentence):
    found = refusal(rollout, PATH, value)
    assert found.startswith(PATH + (": " if not sentence.startswith(".") else "") + sentence)
    assert "\n" not in found
