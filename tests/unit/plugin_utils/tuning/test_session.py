# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.queueing import Load
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.session import Session
from tuning_cases import LONG, as_predicted, context, curve, site

PLACE = site()
LOAD = Load(50_000, overhead_us=100)


def opened(path, options=LONG, engine="standard", now="12:00", **keys):
    return Session(path / "journal.jsonl", context(**keys), {"ranker": [7]}, 50, options, engine, now)


def finish(session, trials=1000):
    measure = as_predicted(PLACE, noise=0.02)
    while trials and (trial := session.search.next()) is not None:
        session.tell(trial, measure(trial))
        trials -= 1
    return choice.choose(session.search)


def test_a_run_from_its_beginning_to_its_end(tmp_path):
    session = opened(tmp_path)
    assert (session.search, session.began, session.resumed) == (None, "12:00", 0)
    with pytest.raises(ValueError, match="the service times are not measured"):
        session.tell(None, None)
    session.start(curve().points, LOAD, 4600)
    assert finish(session).setting is not None


@pytest.mark.parametrize("trials", [0, 1, 7, 15])
def test_a_run_that_ended_early_goes_on(tmp_path, tmp_path_factory, trials):
    whole = opened(tmp_path_factory.mktemp("whole"))
    whole.start(curve().points, LOAD, 4600)
    wanted = finish(whole)
    first = opened(tmp_path)
    first.start(curve().points, LOAD, 4600)
    finish(first, trials) if trials else None
    second = opened(tmp_path, now="13:00")
    assert (second.began, second.resumed) == ("12:00", trials)
    assert second.search.site.load == LOAD
    assert finish(second) == wanted


def test_a_run_that_ended_before_the_curve_measures_it_again(tmp_path):
    opened(tmp_path)
    assert opened(tmp_path).search is None


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(WishError, match="budget: is 5 s, too short"):
        opened(tmp_path, Options(budget_s=5))
    with pytest.raises(WishError, match="engine: is not a way to search"):
        opened(tmp_path, engine="x")
    with pytest.raises(WishError, match="pinned to 4 CPUs"):
        opened(tmp_path, batching={"num_batch_threads": 9})
    assert list(tmp_path.iterdir()) == []


def test_another_budget_is_another_search(tmp_path):
    opened(tmp_path)
    with pytest.raises(WishError, match="is the journal of other options of the search"):
        opened(tmp_path, dataclasses.replace(LONG, budget_s=3600))
