# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What one of the measuring playbooks has no use for is refused there, in a sentence that says what to do."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options


def refusal(purpose, **given):
    with pytest.raises(WishError) as refused:
        options.read({"instance": "ranker", **given}, purpose)
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"rate": 500},
            "rate: has no meaning for tune.yml, which looks for the highest rate of each setting; remove it, or measure"
            " one rate with benchmark.yml",
        ),
        (
            {"duration": "60s"},
            "duration: has no meaning for tune.yml, which measures in stages; give stage for their length, or budget"
            " for the whole",
        ),
        (
            {"utilisation": 0},
            "utilisation: has no effect without shards, since it belongs to the advice on them; remove it, or give"
            " shards",
        ),
        (
            {"against": "before.json"},
            "against: has no meaning for tune.yml, which compares with the plan by itself; remove it, or compare two"
            " runs with benchmark.yml",
        ),
        (
            {"despite_differences": "false"},
            "despite_differences: has no meaning for tune.yml, which compares with no earlier run; remove it",
        ),
    ],
)
def test_a_tuning_refuses_what_belongs_to_a_benchmark(given, sentence):
    assert refusal("tune", **given) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"search": "optuna"},
            "search: has no meaning for benchmark.yml, which tries no settings; remove it, or use it with tune.yml",
        ),
        (
            {"trials": 5},
            "trials: has no meaning for benchmark.yml, which tries no settings; remove it, or use it with tune.yml",
        ),
        (
            {"stage": "20s"},
            "stage: has no meaning for benchmark.yml, whose searches choose the length of their stages; give budget for"
            " a search, or rate and duration for one stage",
        ),
    ],
)
def test_a_benchmark_refuses_what_belongs_to_a_tuning(given, sentence):
    assert refusal("benchmark", **given) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"utilisation": 0.3},
            "utilisation: has no effect without shards, since it belongs to the advice on them; remove it, or give"
            " shards",
        ),
        ({"rate": 5, "budget": "60s"}, "budget: has no effect on one rate; give duration instead"),
        (
            {"rate": 5, "against": "other", "despite_differences": True},
            "despite_differences: has no effect without an earlier run to compare with; remove it, or name the file of"
            " that run with against",
        ),
        (
            {"engine": "h2load", "arrivals": "poisson"},
            "arrivals: is poisson, and h2load sends evenly; use constant, or engine=own",
        ),
        (
            {"protocol": "rest", "tls_name": "gpu-a01.example.com"},
            "tls_name: has no effect by REST, which TensorFlow Serving offers without TLS; use grpc",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(given, sentence):
    assert refusal("benchmark", **given) == sentence


def test_a_comparison_in_turns_may_be_limited():
    assert options.read({"instance": "ranker", "rate": 5, "against": "other", "budget": "1h"}).budget_s == 3600


def test_all_of_them_are_told_at_once():
    assert refusal("tune", rate=5, duration="60s").splitlines()[1] == "and 1 more:"


def test_a_tuning_takes_shards_and_what_belongs_to_them():
    read = options.read({"instance": "ranker", "shards": "1,7", "utilisation": 0.3}, "tune")
    assert (read.shards, read.utilisation) == ((1, 7), 0.3)


def test_what_is_left_empty_is_not_refused():
    assert options.read({"instance": "ranker", "rate": "", "against": None}, "tune").kind == "knee"
