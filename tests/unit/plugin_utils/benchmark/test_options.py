# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of a benchmark is complete and sensible before any host is contacted."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options


def refusal(**given):
    with pytest.raises(WishError) as refused:
        options.read(given)
    return str(refused.value)


def test_an_instance_is_all_that_is_needed():
    found = options.read({"instance": "ranker"})
    assert (found.kind, found.protocol, found.arrivals, found.engine) == ("knee", "grpc", "poisson", "own")
    assert (found.warmup_s, found.budget_s, found.timeout_s) == (5, 900, 10)
    assert found.output == "benchmark-ranker"


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"rate": "500", "duration": "60s"}, "fixed"), ({"shards": "auto"}, "shards"), ({"budget": "5m"}, "knee")],
)
def test_the_variables_say_what_is_measured(given, kind):
    assert options.read({"instance": "ranker", **given}).kind == kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1.5 m", 90), ("2min", 120), ("1h", 3600), ("1500ms", 1.5), (30, 30), ("45", 45)],
)
def test_times_are_written_with_their_unit_or_in_seconds(text, seconds):
    assert options.read({"instance": "ranker", "rate": 1, "duration": text}).duration_s == seconds


@pytest.mark.parametrize(
    ("value", "found"), [("auto", ()), ("4,2", (1, 2, 4)), ([7, "1"], (1, 7)), (7, (1, 7))]
)  # fmt: skip
def test_shards_are_measured_beside_the_whole_request(value, found):
    assert options.read({"instance": "ranker", "shards": value}).shards == found


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"instance": ""}, "instance: is missing; name one with -e instance=..."),
        ({"rates": 5}, "rates: is no variable of a benchmark; did you mean 'rate'?"),
        ({"rate": "fast"}, "rate: is the string 'fast'; give a number from 0.1 to 1e+06"),
        ({"rate": True}, "rate: is the boolean true; give a number from 0.1 to 1e+06"),
        ({"rate": "nan"}, "rate: is the string 'nan'; give a number from 0.1 to 1e+06"),
        ({"rate": 5, "duration": "soon"}, "duration: is the string 'soon'; give a time such as 60s, 5m or 1h"),
        ({"rate": 5, "duration": "100h"}, "duration: is the string '100h'; give a time from 1s to 86400s"),
        ({"protocol": "http"}, "protocol: is the string 'http'; use one of: grpc, rest"),
        ({"arrivals": "random"}, "arrivals: is the string 'random'; use one of: poisson, constant"),
        ({"engine": "wrk"}, "engine: is the string 'wrk'; use one of: own, h2load"),
        ({"items": 0}, "items: is the number 0; give a whole number from 1 to 1000000"),
        ({"items": "7.5"}, "items: is the string '7.5'; give a whole number from 1 to 1000000"),
        ({"shards": "some"}, "shards: is the string 'some'; use auto, or numbers of shards such as 1,2,4"),
        ({"samples": ["a"]}, "samples: is a list; give a text"),
        ({"duration": "60s"}, "duration: belongs to a rate; give rate too, or limit a search by budget"),
        (
            {"shards": "auto", "rate": 5},
            "rate: has no meaning beside shards, which are measured at rates of their own; remove one of them",
        ),
        (
            {"shards": "auto", "against": "before.json"},
            "against: compares runs at one rate, and shards have several; remove one of them",
        ),
        ({"tls_key": "key.pem"}, "tls_certificate: is missing beside tls_key; give both, or neither"),
        ({"tls_certificate": "cert.pem"}, "tls_key: is missing beside tls_certificate; give both, or neither"),
        (
            {"tls_certificate": "cert.pem", "tls_key": "key.pem", "engine": "h2load"},
            "engine: is h2load, which shows no certificate to a server; use engine=own",
        ),
        (
            {"tls_certificate": "cert.pem", "tls_key": "key.pem", "tls_key_remote": True},
            "tls_key: is not the whole path of a file on the load hosts; begin it with a slash, or remove"
            " tls_key_remote",
        ),
        (
            {"against": "./old/../run.json", "output": "run"},
            "against: is the file that this run writes; give another output",
        ),
        (
            {"against": "benchmark-ranker.json"},
            "against: is the file that this run writes; give another output",
        ),
        (
            {"against": "other"},
            "rate: is missing, and two instances in turns are sent one rate; give one that both carry, such as 70 % of"
            " the lower knee",
        ),
        (
            {"against": "other", "rate": 5, "duration": "119s"},
            "duration: is 119 s, and a comparison takes 120 s of each side; give a longer one, or none",
        ),
        (
            {"against": "other", "rate": 5, "budget": "4m"},
            "budget: is 240 s, and the blocks of both sides take 280 s; give a longer one, or a shorter duration",
        ),
        (
            {"against": "other", "shards": "auto"},
            "against: compares runs at one rate, and shards have several; remove one of them",
        ),
        (
            {"against_host": "gpu-b"},
            "against_host: belongs to another instance; name that instance with -e against=...",
        ),
        (
            {"against": "before.json", "against_host": "gpu-b"},
            "against_host: belongs to another instance; name that instance with -e against=...",
        ),
        (
            {"shards": "auto", "engine": "h2load"},
            "engine: is h2load, which sends one body only; use engine=own for shards",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_sentence(given, sentence):
    assert refusal(**{"instance": "ranker", **given}) == sentence


def test_all_mistakes_are_told_at_once():
    assert refusal(instance="ranker", rate="fast", protocol="http").splitlines()[1:] == [
        "and 1 more:",
        "- rate: is the string 'fast'; give a number from 0.1 to 1e+06",
    ]


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({}, 600 + 2 * 900),
        ({"budget": "1h"}, 600 + 2 * 3600),
        ({"rate": 5, "duration": "2h"}, 600 + 2 * 7200),
        ({"against": "before.json", "duration": "2h"}, 600 + 2 * 7200),
        ({"shards": "auto", "budget": "30m"}, 600 + 2 * 1800),
        ({"against": "other", "rate": 5}, 600 + 2 * 280),
        ({"against": "other", "rate": 5, "duration": "1h"}, 600 + 2 * (7200 + 240 * 5)),
    ],
)
def test_the_host_is_watched_as_long_as_the_load_may_last(given, most):
    assert options.read({"instance": "ranker", **given}).longest_s == most


@pytest.mark.parametrize(
    ("against", "earlier", "other"),
    [
        (None, None, None),
        ("before.json", "before.json", None),
        ("runs/before", "runs/before", None),
        ("./before", "./before", None),
        ("ranker-next", None, "ranker-next"),
        ("v1.2", None, "v1.2"),
    ],
)
def test_against_is_a_path_or_the_name_of_an_instance(against, earlier, other):
    found = options.read({"instance": "ranker", "rate": 5, "against": against})
    assert (found.earlier, found.other, found.kind) == (earlier, other, "turns" if other else "fixed")


def test_two_instances_have_blocks_in_turns_for_as_long_as_asked():
    found = options.read({"instance": "ranker", "against": "other", "rate": 5, "duration": "150s"})
    assert [turn.seconds for turn in found.blocks] == [30] * 10
    # No budget is given, so none is exceeded.
    assert options.read({"instance": "ranker", "against": "other", "rate": 5, "duration": "1h"}).turns_s == 8400
