# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, climb, optuna_search, physics
from optuna_double import Optuna
from tuning_cases import as_predicted, searched, site


@pytest.fixture
def optuna(monkeypatch):
    found = Optuna()
    monkeypatch.setitem(sys.modules, "optuna", found)
    return found


def test_the_standard_search_needs_nothing():
    assert optuna_search.chosen("standard") == (climb.propose, [])


def test_without_optuna_the_standard_search_goes_on_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert optuna_search.chosen("optuna") == (
        climb.propose,
        [
            "Optuna is not installed on the controller, so the standard search was used; to use Optuna, install the"
            " package optuna for the Python that runs Ansible"
        ],
    )


def test_an_unknown_engine_is_refused():
    with pytest.raises(WishError) as caught:
        optuna_search.chosen("grid")
    assert str(caught.value) == "engine: is not a way to search; choose one of standard, optuna"


def test_a_search_by_optuna_ends_and_resumes_with_the_same_proposals(optuna):
    propose, _ = optuna_search.chosen("optuna")
    place = site()
    found = searched(place, as_predicted(place, noise=0.02), propose=propose)
    assert any(told.trial.origin == "search" for told in found.history)
    assert choice.choose(found).setting is not None
    again = searched(place, as_predicted(place, noise=0.02), propose=propose)
    assert [told.trial for told in again.history] == [told.trial for told in found.history]


def test_what_was_measured_is_handed_over(optuna):
    place = site()
    big = physics.shaped(place, 64, 5000, 3, 0.5)
    optuna_search.propose(place, [(big, 900.0), (place.single, 700.0)], {big, place.single}, 7)
    (study,) = optuna.studies
    assert [trial.value for trial in study.trials] == [900.0, 700.0]
    assert study.trials[0].params == {"size": 64, "timeout": 0.1, "threads": 3, "room": 0.5, "intra_op": 2}
    assert study.trials[1].params["size"] == 0


def test_what_is_illegal_or_tried_is_not_proposed(optuna, monkeypatch):
    place = site()
    refused = WishError("batching", "is refused", "")
    monkeypatch.setattr(physics.Site, "legal", lambda self, setting: refused)
    assert optuna_search.propose(place, [], set(), 1) is None
    assert optuna.studies[0].failed == optuna_search.ATTEMPTS


@pytest.mark.parametrize("seed", range(20))
def test_a_proposal_is_legal_and_new(optuna, seed):
    place = site()
    found = optuna_search.propose(place, [(place.single, 1.0)], {place.single, place.planned}, seed)
    assert place.legal(found) == found
    assert found not in (place.single, place.planned)


def test_an_instance_of_one_cpu_without_room_for_a_batch_can_be_searched(optuna):
    place = site(fixed_us=60_000, cpus=1)
    found = optuna_search.propose(place, [(place.single, 1.0), (place.planned, 1.0)], {place.single, place.planned}, 1)
    assert found is None or found.batches is None
