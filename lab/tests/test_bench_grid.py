# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The race of a grid of settings, on servers whose knees are known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from support import grid, lab_models, local_load
from support.local_load import part

SLO_US = 50_000


def stage(rate, verdict, p99_us=40_000, p99_low_us=30_000):
    return part("plugin_utils.tuning.bracket").Stage(rate, verdict, "", p99_us, p99_low_us, p99_us + 10_000)


class KnownServers:
    """Settings are names, each with its knee. Just above it a short try is in doubt; `lucky` ones pass the search with
    twice their knee, and `disturbed` ones cannot be measured."""

    def __init__(self, knees, lucky=(), disturbed=()):
        self.knees, self.lucky, self.disturbed = knees, lucky, disturbed
        self.attempts = []

    def attempt(self, setting, rate, seconds):
        self.attempts.append((setting, round(rate), seconds))
        if setting in self.disturbed:
            return grid.Try(stage(rate, "invalid"), False, False)
        knee = self.knees[setting]
        if rate <= knee:
            return grid.Try(stage(rate, "pass"), True, False)
        return grid.Try(stage(rate, "fail", SLO_US * rate / knee), False, rate > 1.1 * knee)

    def knee(self, setting, carries):
        return 2 * self.knees[setting] if setting in self.lucky else self.knees[setting]


def raced(servers, best=100.0):
    race = grid.Race(servers, best, lambda _line: None)
    race.run(list(servers.knees))
    return race


def test_what_clearly_fails_just_above_the_best_costs_one_short_try():
    servers = KnownServers({"poor": 50.0})
    assert raced(servers).knees == {}
    assert servers.attempts == [("poor", 103, 520 / 103)]


def test_what_is_in_doubt_is_tried_again_for_longer():
    servers = KnownServers({"near": 1000.0})
    assert raced(servers, best=1000.0).knees == {}
    assert [seconds for *_, seconds in servers.attempts] == [grid.SHORT_S, grid.LONGER_S]


def test_each_new_best_raises_the_rate_for_those_that_follow():
    servers = KnownServers({"good": 200.0, "between": 150.0, "best": 300.0})
    race = raced(servers)
    assert race.knees == {"good": 200.0, "best": 300.0}
    assert ("between", 206, 520 / 206) in servers.attempts
    assert race.best == 300.0


def test_a_knee_that_is_not_confirmed_counts_as_the_rate_that_was_carried():
    """The best of many is the luckiest of them too, and would turn better ones away."""
    race = raced(KnownServers({"lucky": 120.0, "better": 150.0}, lucky=["lucky"]))
    assert race.knees == {"lucky": 103.0, "better": 150.0}


def test_a_setting_that_the_machine_disturbed_is_said_to_be_unmeasured():
    race = raced(KnownServers({"good": 200.0, "disturbed": 300.0}, disturbed=["disturbed"]))
    assert race.unmeasured == ["disturbed"]
    assert "disturbed" not in race.finalists()


def test_a_setting_with_which_no_server_starts_does_not_end_the_race():
    host = SimpleNamespace(put=lambda _plan: {"failed": True, "msg": "no batch holds the request"})
    context, load = SimpleNamespace(plan_of=lambda setting: setting), SimpleNamespace(slo_ms=SLO_US / 1000)
    race = grid.Race(grid.Servers(host, context, load), 100.0, lambda _line: None)
    race.run(["too small"])
    assert race.unmeasured == ["too small"]


def test_finalists_are_the_best_and_where_too_few_carried_more_those_that_came_closest():
    assert raced(KnownServers({"a": 110.0, "b": 130.0, "c": 160.0})).finalists() == ["c", "b"]
    assert raced(KnownServers({"far": 20.0, "near": 99.0, "middle": 60.0})).finalists() == ["near", "middle"]


@pytest.mark.parametrize("model", local_load.MODELS)
def test_the_grid_has_two_hundred_legal_settings_of_each_model(monkeypatch, model):
    monkeypatch.setattr(lab_models, "FOLDER", Path("/srv/models"))
    a, c = {"dense": (2600, 174), "sequence": (600, 955), "simulated_device": (9000, 20)}.get(model, (1200, 70))
    times, queueing = part("plugin_utils.tuning.service_time"), part("plugin_utils.tuning.queueing")
    curve = times.fit([times.Point(size, a + c * size) for size in (1, 2, 4, 8, 16, 32, 64)])
    load = queueing.Load(slo_us=SLO_US, items=local_load.ITEMS.get(model, 1))
    site = part("plugin_utils.tuning.physics").survey(local_load.context(model), curve, load)
    found = grid.settings(site)
    assert len(found) == len(set(found)) >= 200
    assert site.single in found
    assert [site.legal(setting) for setting in found] == found


@pytest.mark.parametrize(
    ("verdict", "close", "errors", "p99_low", "carries", "clear"),
    [
        ("pass", False, {}, 40, True, False),
        ("fail", True, {}, 45, True, False),  # only the interval breaks the objective
        ("fail", False, {}, 45, False, False),
        ("fail", False, {}, 51, False, True),
        ("fail", False, {"503": 1}, 10, False, True),
        ("invalid", False, {"503": 1}, 60, False, False),
    ],
)
def test_only_failed_requests_and_a_p99_surely_too_high_are_beyond_doubt(
    verdict, close, errors, p99_low, carries, clear
):
    outcome = part("plugin_utils.measure.knee").Outcome(verdict, "", 50_000, close=close)
    p99 = SimpleNamespace(us=52_000, low=p99_low * 1000, high=60_000)
    judged = SimpleNamespace(
        outcome=outcome, percentiles=SimpleNamespace(found={"p99": p99}), entry={"result": {"errors": errors}}
    )
    found = grid.tried(500.0, judged, SLO_US)
    assert (found.carries, found.clear, found.is_valid) == (carries, clear, verdict != "invalid")
