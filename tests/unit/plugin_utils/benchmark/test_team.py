# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Several load hosts as one, with a generator that answers at once."""

from __future__ import annotations

import json
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import runner, team
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.crew import Crew

NAMES = ["load-1", "load-2"]
# Of a stage in which ten requests were offered, as the load generator writes it.
RESULT = {
    "schema": 1, "engine": "own", "protocol": "grpc", "began": 100.0, "warmup_s": 1, "duration_s": 2, "rate": 5,
    "offered": 10, "sent": 10, "answered": 10, "ok": 10, "late": 0, "items": 10, "errors": {}, "cpu": [], "rss_mb": [],
    "counters": None, "all": {"sent": 10, "ok": 10}, "problems": [], "histogram": Histogram().to_json(), "seconds": [],
}  # fmt: skip


class Generator:
    """A load host whose generator has a result for whatever it is asked."""

    def __init__(self, name, answer, status=0):
        self.answer, self.status, self.put = answer, status, []
        self.place = runner.Place(name, self.run, self.take, "python3", "/opt/load", "/run/load")

    def take(self, path, text):
        self.put.append((path, json.loads(text)))

    def run(self, command):
        if "cat " in command and "/exit" in command and "alive" in command:
            return runner.Answer(0, f"{self.status}\n", "")
        if command.startswith("rm -rf"):
            return runner.Answer(0, "", "")
        if command.startswith("tail"):
            return runner.Answer(0, self.answer, "")
        return runner.Answer(self.status, json.dumps(self.answer), "refused: that" if self.status else "")


@pytest.fixture
def others(tmp_path):
    """Return what starts the second load host, which ends with its conductor's dismissal."""
    chief, threads = Crew(tmp_path, "load-1", NAMES), []

    def start(generator):
        arguments = [Crew(tmp_path, "load-2", NAMES), generator.place, 60]
        threads.append(threading.Thread(target=team.follow, args=arguments))
        threads[-1].start()
        return chief

    yield start
    chief.dismiss()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_each_load_host_is_asked(others):
    first, second = Generator("load-1", {"cores": 4}), Generator("load-2", {"cores": 2})
    together = team.Team(others(second), first.place, NAMES)
    assert together.ask("look", {"target": {}}) == [{"cores": 4}, {"cores": 2}]
    assert first.put == second.put == [("/run/load/look.json", {"target": {}})]


def test_each_load_host_runs_its_part_and_the_results_are_one(others):
    first, second = Generator("load-1", RESULT), Generator("load-2", RESULT)
    together = team.Team(others(second), first.place, NAMES)
    found = together.run([{"rate": 1}, {"rate": 2}], 10, lambda status: None)
    assert (found["offered"], found["rate"]) == (20, 10)
    assert [generator.put[-1][1] for generator in (first, second)] == [{"rate": 1}, {"rate": 2}]


def test_the_refusal_of_another_load_host_is_the_teams(others):
    first, second = Generator("load-1", {}), Generator("load-2", {}, status=2)
    together = team.Team(others(second), first.place, NAMES)
    with pytest.raises(WishError) as refused:
        together.ask("look", {})
    assert str(refused.value) == "load host load-2: refused: that"


def test_only_the_conductors_host_is_calibrated(tmp_path):
    first = Generator("load-1", {"protocols": {}})
    together = team.Team(Crew(tmp_path, "load-1", NAMES), first.place, NAMES)
    assert together.calibrate() == {"protocols": {}}
    assert list(tmp_path.glob("*.order")) == []


def test_a_load_host_that_fails_ends_the_stage_at_once(tmp_path, monkeypatch):
    chief, other = Crew(tmp_path, "load-1", NAMES), Crew(tmp_path, "load-2", NAMES)

    def measure(*_arguments):
        next(other.orders(60))
        other.answer({"refusal": "load host load-2: out of memory"})
        yield from ({"t": t} for t in range(600))
        raise AssertionError("the stage went on to its end")

    monkeypatch.setattr(runner, "measure", measure)
    together = team.Team(chief, Generator("load-1", {}).place, NAMES)
    with pytest.raises(WishError, match=r"^load host load-2: out of memory$"):
        together.run([{}, {}], 600, lambda status: None)


def test_a_load_host_gives_up_a_stage_that_its_conductor_has_given_up(tmp_path, monkeypatch):
    chief, ended = Crew(tmp_path, "load-1", NAMES), []
    chief.order({"load-2": {"do": "run", "spec": {}, "seconds": 600}})
    chief.dismiss()

    def measure(*_arguments):
        yield from ({"t": t} for t in range(600))
        raise AssertionError("the stage went on to its end")

    monkeypatch.setattr(runner, "measure", measure)
    monkeypatch.setattr(runner, "interrupt", lambda place: ended.append(place.name))
    team.follow(Crew(tmp_path, "load-2", NAMES), Generator("load-2", {}).place, 60)
    assert ended == ["load-2"]
    assert chief.answered(["load-2"]) == []
