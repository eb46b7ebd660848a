# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tuning from the first look to its files, on a simulated host whose server batches, or does not."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.trial import wish
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import conduct, publish, space
from simulated_team import SimulatedTeam
from tuning_cases import context

SLO_MS = 50


class Host:
    """The measured host, which tells the simulated server how many calls run at a time."""

    def __init__(self, team, fails=lambda number: False):
        self.team, self.fails, self.orders = team, fails, []
        # By the number of what was put in force.
        self.memory = {}
        self.disturbed = {}

    def put(self, plan):
        self.orders.append("put")
        self.team.slots = plan["batching"]["num_batch_threads"] if plan["batching"] else 4
        failed = self.fails(self.orders.count("put"))
        return {"failed": True, "msg": "the server ended"} if failed else {"changed": True}

    def renew(self):
        self.orders.append("renew")
        number, at = self.orders.count("put"), float(self.orders.count("renew"))
        sample = simulated_team.sample(at, **self.disturbed.get(number, lambda _at: {})(at))
        return {"memory": self.memory.get(number, {}), "sample": sample}

    def restore(self):
        self.orders.append("restore")
        return True


class WithASlowPlan(Host):
    """One whose plan runs two calls at a time, and every other setting four."""

    def put(self, plan):
        done = super().put(plan)
        self.team.slots = 2 if plan["digest"] == context(SLO_MS).planned()["digest"] else 4
        return done


class LateUnderOverload(SimulatedTeam):
    """One that sends some requests late where the server does not keep up, as small load hosts do."""

    def run(self, specs, seconds, progress):
        result = super().run(specs, seconds, progress)
        over = Histogram.from_json(result["histogram"]).share_over(SLO_MS * 1000)
        return {**result, "late": result["offered"] // 50 if over > 0.2 else 0}


@pytest.fixture
def tune(monkeypatch, tmp_path):
    """Return what conducts a tuning of a team and a host, and gives the document."""
    seconds = itertools.count()
    monkeypatch.setattr(conduct, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))

    def run(team, host, told=None, digest=None, **given):
        place = context(SLO_MS)
        given = {"output": str(tmp_path / "tuned" / "ranker"), "budget": "1h", "trials": 4, **given}
        asked = simulated_team.options.read({"instance": "ranker", **given}, "tune")
        target = simulated_team.target(slo_ms=SLO_MS, plan_digest=digest or place.planned()["digest"])
        monkeypatch.setattr(conduct.team, "Team", lambda crew, place, names: team)
        monkeypatch.setattr(conduct, "Host", lambda *given: host)
        tell = (lambda line: None) if told is None else told.append
        return conduct.conduct(conduct.Call(asked, target, place, None, team.names, tell), None, None)

    return run


def server(**more):
    """Return a server whose calls take 2 ms, and 10 ms for each item."""
    return SimulatedTeam(0.002, 0.010, 4, **more)


def test_a_tuning_from_its_beginning_to_its_files(tune, tmp_path):
    team, told = server(), []
    host = Host(team)
    found = tune(team, host, told)
    assert document.checked(found, "document") == found
    assert (found["host"], found["instance"], found["restored"]) == ("gpu-a", "ranker", True)
    assert found["service_time"]["a_us"] == pytest.approx(2_000, rel=0.1)
    assert found["service_time"]["c_us"] == pytest.approx(10_000, rel=0.1)
    assert found["trials"][0]["outcome"] == "measured"
    assert host.orders[-1] == "restore"
    assert host.orders.count("restore") == 1
    assert told[-1] == "  bringing the plan's settings back"
    published = publish.publish(str(tmp_path / "tuned" / "ranker"), found)
    suffixes = {Path(each).suffix for each in published.files}
    assert suffixes >= {".json", ".md", ".html"}
    assert (".yml" in suffixes) == (published.verdict == "tuned") == bool(found["inventory"])
    assert not (tmp_path / "tuned" / "ranker.journal").exists()


def test_a_trial_is_postponed_before_each_stage_and_the_host_read_after_it(tune):
    team = server()
    host, run = Host(team), team.run

    def watched(*stage):
        host.orders.append("stage")
        return run(*stage)

    team.run = watched
    tune(team, host)
    points, trials = halves(host.orders)
    # Every stage but the first requests, which follow the first order at once.
    assert points.count("renew") == points.count("stage") - 1
    places = [at for at, order in enumerate(trials) if order == "stage"]
    assert len(places) > 10
    assert {(trials[at - 1], trials[at + 1]) for at in places} == {("renew", "renew")}


def halves(orders):
    """Return the orders while service times are measured, and those of the trials, which begin with another put."""
    second = orders.index("put", 1)
    return orders[:second], orders[second:]


def stolen(share):
    """Return counters of a host whose hypervisor takes a share of the CPUs' time."""
    return lambda at: {"steal_us": int(share * at * 1e6)}


def test_a_trial_that_the_host_disturbs_fails_and_the_next_does_not(tune):
    team, told = server(), []
    host = Host(team)
    host.disturbed = {3: stolen(0.25)}
    found = tune(team, host, told)
    why = "the hypervisor took 25.0% of the CPUs' time for others"
    first, second, third = found["trials"][:3]
    assert (second["outcome"], second["why"].startswith(f"{why}; physics expects ")) == ("failed", True)
    assert (first["outcome"], third["outcome"]) == ("measured", "stopped early")
    assert third["why"].startswith("it does not carry ")
    assert [stage["remarks"] for stage in second["host"]] == [[why]] * 6
    assert {stage["figures"]["steal_share"] for stage in second["host"]} == {0.25}
    assert {stage["figures"]["steal_share"] for stage in first["host"]} == {0.0}
    assert first["host"][0]["remarks"] == []
    assert told.count(f"  trial 2: invalid, {why}") == 6
    stages = sum(len(trial["host"]) for trial in found["trials"])
    turns = found["choice"]["turns"]
    stages += len(turns["host"]) if turns else 0
    assert f"the host disturbed 6 of {stages} stages, the first of them in trial 2: {why}" in found["remarks"]


def test_what_does_not_spoil_a_trial_is_remarked_on_only(tune):
    team = server()
    host = Host(team)
    host.disturbed = {2: stolen(0.05)}
    found = tune(team, host)
    assert found["trials"][0]["outcome"] == "measured"
    texts = {text for stage in found["trials"][0]["host"] for text in stage["remarks"]}
    assert texts == {"the hypervisor took 5.0% of the CPUs' time for others"}


def test_points_of_a_slow_model_are_measured_briefly(tune):
    team = SimulatedTeam(0.040, 0.00001, 4)
    tune(team, Host(team))
    points = list(itertools.takewhile(lambda spec: spec["duration_s"] <= conduct.LONGEST_POINT_S, team.specs))
    assert len(points) >= 3


def test_the_settings_come_back_after_a_failure(tune):
    team = server(ok=lambda number: len(team.specs) < 4)
    host = Host(team)
    with pytest.raises(WishError) as refused:
        tune(team, host)
    assert str(refused.value).startswith("instance: answers no request of ")
    assert str(refused.value).endswith("; look at its log")
    assert host.orders[-1] == "restore"


@pytest.mark.parametrize("stages", [1, 4, 15])
def test_the_settings_come_back_after_an_interruption_and_a_second_run_goes_on(tune, stages, tmp_path):
    team = server()
    host, run = Host(team), team.run

    def interrupted(*stage):
        if len(team.specs) == stages:
            raise KeyboardInterrupt
        return run(*stage)

    team.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        tune(team, host)
    assert host.orders[-1] == "restore"
    assert (tmp_path / "tuned" / "ranker.journal").exists()
    second, told = server(), []
    assert tune(second, Host(second), told)["restored"] is True
    assert any(line.startswith("  going on with ") for line in told) == (stages == 15)


def test_a_server_that_does_not_start_without_batching_is_refused(tune):
    host = Host(server(), fails=lambda number: True)
    with pytest.raises(WishError) as refused:
        tune(host.team, host)
    assert str(refused.value) == "instance: does not serve without batching: the server ended; look at its log"
    assert host.orders == ["put", "restore"]


def test_a_trial_whose_server_does_not_start_is_a_failed_one(tune):
    team = server()
    found = tune(team, Host(team, fails=lambda number: number == 3))
    second = found["trials"][1]
    assert second["outcome"] == "failed"
    assert second["why"].startswith("the server ended; ")


def test_the_best_of_the_trials_and_the_plan_take_turns_at_the_end(tune):
    team, told = server(), []
    host = WithASlowPlan(team)
    found = tune(team, host, told)
    turns = found["choice"]["turns"]
    assert turns is not None
    assert (turns["blocks"], turns["block_s"]) == (4, 30)
    last = [spec for spec in team.specs if spec["duration_s"] == 30][-8:]
    assert {spec["rate"] for spec in last} == {turns["rate"]}
    # The plan fails two looks of a stage each, and the turns follow.
    looks, blocks = ("  rate of the turns, plan: ", "  turns, plan: ")
    assert [len([line for line in told if line.startswith(name)]) for name in (looks, blocks)] == [2, 4]
    assert [spec["duration_s"] for spec in team.specs[-10:-8]] == [10, 10]
    assert (turns["verdict"], turns["keeps"]) == ("better", True)
    assert found["choice"]["verdict"] in ("tuned", "no batching")
    assert found["inventory"] is not None


def test_a_plan_that_is_overloaded_loses_the_turns_instead_of_spoiling_them(tune):
    team, told = LateUnderOverload(0.001, 0.004, 4), []
    found = tune(team, WithASlowPlan(team), told)
    assert [line for line in told if "turns, plan" in line and "invalid" in line]
    assert (found["choice"]["turns"]["verdict"], found["choice"]["turns"]["keeps"]) == ("better", True)
    assert found["choice"]["verdict"] in ("tuned", "no batching")


def test_shards_are_measured_with_the_chosen_settings_and_with_the_plan(tune):
    team, told = server(), []
    found = tune(team, WithASlowPlan(team), told, items=4, shards="1,2,4")
    assert document.checked(found, "document") == found
    chosen, planned = found["shards"]
    assert (chosen["of"], planned["of"]) == ("chosen", "plan")
    assert chosen["settings"] == next(
        each["settings"] for each in found["trials"] if each["number"] == found["choice"]["trial"]
    )
    # Four calls of one item take 12 ms on four slots, and 24 ms on two; the whole takes 42 ms.
    assert [row["p50_us"] for row in chosen["rows"]] == pytest.approx([42_000, 22_000, 12_000], rel=0.05)
    assert [row["p50_us"] for row in planned["rows"]] == pytest.approx([42_000, 22_000, 24_000], rel=0.05)
    assert told[-1] == "  bringing the plan's settings back"
    assert "  measuring a request whole and in shards, with the chosen settings" in told


def test_without_shards_none_are_measured(tune):
    team = server()
    assert tune(team, Host(team), items=4)["shards"] is None
    assert not [spec for spec in team.specs if "copies" in spec["requests"][0]]


def test_requests_that_cannot_be_cut_are_refused_before_anything_is_changed(tune):
    host = Host(server())
    with pytest.raises(WishError) as refused:
        tune(host.team, host, shards="auto")
    assert str(refused.value) == (
        "shards: has nothing to cut in requests of 1 item; send larger requests: give items, or samples"
    )
    assert (host.orders, host.team.specs) == ([], [])


def test_the_budget_has_to_have_time_for_shards(tune):
    host = Host(server())
    with pytest.raises(WishError) as refused:
        tune(host.team, host, budget="14m", items=4, shards="1,2")
    assert str(refused.value) == (
        "budget: is 840 s, too short to compare the plan with one other setting and to measure shards; give at least"
        " 952 s"
    )
    assert host.orders == []


def test_settings_for_which_no_time_is_left_are_left_out_with_a_sentence(tune, monkeypatch):
    monkeypatch.setattr(conduct.Search, "left_s", 20.0)
    team = server()
    (left_out,) = tune(team, Host(team), items=4, shards="1,2")["shards"]
    assert (left_out["of"], left_out["best"], left_out["rows"]) == ("plan", None, [])
    assert left_out["sentence"] == "not measured: 19 s of the budget were left, and it may take 4 min 57 s"


def test_shards_on_a_host_that_disturbs_them_are_uncertain(tune):
    class Stolen(Host):
        def renew(self):
            told = super().renew()
            at = told["sample"]["at"]
            return {**told, "sample": {**told["sample"], "steal_us": int(2.5e5 * at) if in_shards(self.team) else 0}}

    team = server()
    (told,) = tune(team, Stolen(team), items=4, shards="1,2")["shards"]
    assert "; uncertain, since 1 shard was invalid: the hypervisor took " in told["sentence"]


def in_shards(team):
    return bool(team.specs) and "copies" in team.specs[-1]["requests"][0]


def test_a_server_that_does_not_answer_shards_leaves_the_rest_of_the_result(tune):
    team = server(ok=lambda number: not in_shards(team))
    host = Host(team)
    found = tune(team, host, items=4, shards="1,2")
    (told,) = found["shards"]
    assert told["sentence"].startswith("not measured: shards: 1 shard: none of the requests was answered (")
    assert (found["choice"]["verdict"], host.orders[-1]) == ("plan", "restore")


def test_shards_end_where_the_server_takes_too_much_memory(tune):
    class Short(Host):
        def renew(self):
            told = super().renew()
            little = {"rss_mb": None, "available_mb": 100.0}
            return {**told, "memory": little} if in_shards(self.team) else told

    team = server()
    host = Short(team)
    (told,) = tune(team, host, items=4, shards="1,2")["shards"]
    assert told["sentence"] == "not measured: the host had 100 MB of memory left, less than 256 MB"
    # At once, and at the end.
    assert host.orders[-3:] == ["renew", "restore", "restore"]


def test_a_server_that_does_not_start_again_for_the_shards_leaves_the_rest_of_the_result(tune):
    team, told = server(), []
    host = Host(team, fails=lambda number: "measuring a request whole" in told[-1])
    found = tune(team, host, told, items=4, shards="1,2")
    assert [each["sentence"] for each in found["shards"]] == ["not measured: the server ended"]
    assert found["choice"]["verdict"] == "plan"


def test_an_interruption_in_the_shards_leaves_the_trials_and_a_second_run_repeats_the_shards(tune):
    team = server()
    host, run = Host(team), team.run

    def interrupted(*stage):
        found = run(*stage)
        if in_shards(team):
            raise KeyboardInterrupt
        return found

    team.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        tune(team, host, items=4, shards="1,2")
    assert host.orders[-1] == "restore"
    second = server()
    found = tune(second, Host(second), items=4, shards="1,2")
    assert [row["shards"] for row in found["shards"][0]["rows"]] == [1, 2]
    # The first requests, both cuts, and a half of the request alone: no trial and no point of the curve again.
    assert len(second.specs) == 4 * len(found["shards"])


def test_a_trial_that_takes_too_much_memory_ends_with_the_plan_back(tune):
    team = server()
    host, told = Host(team), []
    host.memory = {3: {"rss_mb": None, "available_mb": 100.0}}
    found = tune(team, host, told)
    second = found["trials"][1]
    assert second["outcome"] == "failed"
    assert second["why"].startswith("the host had 100 MB of memory left, less than 256 MB; ")
    place = [number for number, order in enumerate(host.orders) if order == "put"][2]
    assert host.orders[place : place + 4] == ["put", "renew", "restore", "put"]
    said = "  the host had 100 MB of memory left, less than 256 MB: bringing the plan's settings back"
    assert said in told


def test_an_instance_that_cuts_large_requests_is_not_searched(tune, monkeypatch):
    host, planned = Host(server()), space.Context.planned
    splitting = {"batching": {"enable_large_batch_splitting": True}}
    monkeypatch.setattr(space.Context, "planned", lambda self: {**planned(self), **splitting})
    with pytest.raises(WishError) as refused:
        tune(host.team, host)
    assert str(refused.value) == (
        "instance: ranker cuts large requests, and trials would vary the largest one, not the batch; tune without"
        " enable_large_batch_splitting, then set it again"
    )
    assert host.orders == []


def test_settings_that_are_not_in_force_are_refused(tune):
    host = Host(server())
    with pytest.raises(WishError) as refused:
        tune(host.team, host, digest="other")
    assert str(refused.value) == (
        "inventory: asks for other settings of ranker than those in force on gpu-a; run site.yml first"
    )
    assert (host.orders, host.team.specs) == ([], [])


def test_a_budget_that_is_too_small_for_one_comparison_is_refused(tune):
    host = Host(server())
    with pytest.raises(WishError) as refused:
        tune(host.team, host, budget="5m")
    assert str(refused.value) == (
        "budget: is 300 s, too short to compare the plan with one other setting; give at least 646 s"
    )
    assert (host.orders, host.team.specs) == ([], [])


def test_the_measured_host_calls_what_it_is_ordered_to():
    class Follower:
        answered = []

        def orders(self, longest_s):
            yield {"module": "m", "arguments": {"a": 1}}

        def answer(self, answer):
            self.answered.append(answer)

    def call(module, arguments):
        assert (module, arguments) == ("m", {"a": 1})
        return {"failed": True, "msg": "x", "waited_s": 2, "sample": {"at": 1}, "invocation": {"secret": 1}}

    conduct.follow(Follower(), call, 10)
    assert Follower.answered == [{"failed": True, "msg": "x", "waited_s": 2, "sample": {"at": 1}}]


@pytest.mark.parametrize(("rate", "seconds"), [(500.0, 10.0), (20.0, 27.25), (1.0, 120.0)])
def test_a_slow_instance_gets_the_requests_that_p99_takes(rate, seconds):
    trial = SimpleNamespace(stage_s=10.0)
    assert conduct.stage_s(trial, rate) == seconds


def test_the_id_of_a_run_is_one_that_hosts_take():
    assert conduct.owner("2026-11-26T16:02:31Z") == "tune-20261126T160231Z"
    assert wish.OWNER.fullmatch(conduct.owner("2026-11-26T16:02:31Z"))
