# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The workers of a watch: who takes part, what each does on its own host, and hosts that do not answer."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.crew import Crew
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import bounded, conduct, samples, team, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from patience import LONG_S
from planner_cases import CPU_HOST, instance
from planner_cases import plan as planned
from simulated_rollout import wish
from simulated_watch import START, begun

GATEWAYS = ["edge-1", "edge-2"]
ARMS = {"canary": ["gpu-a"], "control": ["gpu-b", "gpu-c"]}
MEMBERS = ["edge-1", "edge-2", "gpu-a", "gpu-b", "gpu-c"]


# --- who takes part -------------------------------------------------------------------------------------------


def test_gateways_and_both_arms_in_turn_take_part():
    arms = {"canary": [f"a{n}" for n in range(3)], "control": [f"b{n}" for n in range(100)]}
    assert team.members(GATEWAYS, arms, 50)[:8] == ["edge-1", "edge-2", "a0", "b0", "a1", "b1", "a2", "b2"]
    assert team.members(GATEWAYS, arms, 5) == ["edge-1", "edge-2", "a0", "b0", "a1"]


def test_a_host_that_is_a_gateway_as_well_takes_part_once():
    assert team.members(["gpu-a"], {"canary": ["gpu-a"], "control": ["gpu-b"]}, 5) == ["gpu-a", "gpu-b"]


@pytest.mark.parametrize("forks", [2, 3])
def test_too_few_forks_for_the_gateways_and_both_arms_are_refused(forks):
    with pytest.raises(WishError) as refused:
        team.members(GATEWAYS, ARMS, forks)
    assert str(refused.value) == (
        f"forks: is {forks}, and 2 gateways and a host of each arm have to be looked at together; run with --forks 4"
    )


def test_without_a_control_a_canary_host_is_enough():
    assert team.members(GATEWAYS, {"canary": ["gpu-a", "gpu-b"], "control": []}, 3) == [*GATEWAYS, "gpu-a"]


def test_a_plan_tells_the_servers_of_the_model_and_its_golden_requests():
    golden = {"requests": [{"name": "one"}], "file": "golden/ranker.jsonl"}
    made = planned(CPU_HOST, [instance()])
    made["models"][0]["golden"] = golden
    found = team.post("ranker", False, made)
    assert found == team.Post("ranker", False, {"ranker": 8501}, ({"name": "one"},))
    assert team.post("other", True, made) == team.Post("other", True)
    assert team.post("ranker", True, {}) == team.Post("ranker", True)


@pytest.mark.parametrize("plan", [{"instances": [{}]}, {"instances": 3}, {"models": [7]}])
def test_a_plan_that_is_none_is_refused(plan):
    with pytest.raises(WishError, match=r"^plan: is not the plan of a host; give what the role host_plan has made$"):
        team.post("ranker", False, plan)


# --- on one host ----------------------------------------------------------------------------------------------


def said(order, post, results):
    asked = []

    def call(module, arguments):
        asked.append((module, arguments))
        return results.get(module.rpartition(".")[2], {"failed": True, "msg": "not here"})

    return team.carried_out(order, post, call), asked


COUNTS = {"process": "p", "canary": {}, "control": {}, "gap": "", "behind": False, "age": [1, 2]}


def test_a_host_that_is_both_answers_for_both():
    post = team.Post("ranker", True, {"ranker": 8501})
    results = {"gateway_calls": COUNTS, "rollout_servers": {"servers": {"ranker": {"process": "x", "calls": 0}}}}
    found, asked = said({"do": "read", "slow_ms": 100.0}, post, results)
    assert found == {"gateway": COUNTS, "servers": {"ranker": {"process": "x", "calls": 0}}}
    assert asked == [
        ("tfserving.fleet.gateway_calls", {"model": "ranker", "slow_ms": 100.0}),
        ("tfserving.fleet.rollout_servers", {"instances": {"ranker": 8501}}),
    ]


def test_a_share_is_the_entry_of_the_models_map():
    found, asked = said({"do": "share", "permille": 50}, team.Post("ranker", True), {"gateway_state": {"changed": 1}})
    assert "failed" not in found
    assert asked == [
        ("tfserving.fleet.gateway_state", {"maps": {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": "50"}}})
    ]


def test_a_record_is_written_unless_the_host_keeps_another_one():
    mine = begun().to_json()
    found, asked = said(
        {"do": "record", "state": mine}, team.Post("ranker"), {"rollout_state": {"states": {"ranker": mine}}}
    )
    assert (found, asked) == (
        {"is_written": True, "age": [1, 1]},
        [("tfserving.fleet.rollout_state", {"state": mine})],
    )
    newer = {**mine, "generation": 2}
    found, _ = said(
        {"do": "record", "state": mine}, team.Post("ranker"), {"rollout_state": {"states": {"ranker": newer}}}
    )
    assert found == {"is_written": False, "age": [2, 1]}


def test_golden_requests_go_out_in_portions():
    post = team.Post("ranker", servers={"ranker": 8501}, golden=[{"name": str(n)} for n in range(7)])
    results = {"rollout_servers": {"golden": {"ranker": [5, 0]}}}
    found, asked = said({"do": "golden", "calls": 5, "place": 5}, post, results)
    assert found == {"golden": {"ranker": [5, 0]}}
    assert [each["name"] for each in asked[0][1]["golden"]] == ["5", "6", "0", "1", "2"]
    few = team.Post("ranker", servers={"ranker": 8501}, golden=[{"name": "0"}])
    assert len(said({"do": "golden", "calls": 5, "place": 3}, few, results)[1][0][1]["golden"]) == 1
    assert said({"do": "golden", "calls": 5, "place": 0}, team.Post("ranker"), results) == ({}, [])


def test_a_module_that_fails_is_told_in_its_own_words():
    found, _ = said({"do": "share", "permille": 5}, team.Post("ranker", True), {})
    assert found == {"failed": "not here"}


def test_a_host_that_cannot_be_reached_answers_so():
    def call(_module, _arguments):
        raise OSError("no route to host \x1b[31m")

    found = bounded.carried_out({"do": "read", "slow_ms": 0}, team.Post("ranker", True), call)
    assert found == {"failed": "no route to host \\x1b[31m"}


def test_a_host_that_hangs_keeps_no_worker():
    gone = threading.Event()
    tried = []

    def call(_module, _arguments):
        # Connections try again after any Exception.
        for _try in range(3):
            tried.append(1)
            with contextlib.suppress(Exception):
                gone.wait(LONG_S)

    found = bounded.carried_out({"do": "read", "slow_ms": 0}, team.Post("ranker", True), call, 0.2)
    assert (found, tried) == ({"failed": "no answer within 0 s"}, [1])


# --- all together ---------------------------------------------------------------------------------------------


class Host:
    """What modules would find on a host."""

    def __init__(self, name):
        self.name, self.share, self.state, self.down = name, None, None, False
        self.calls = {arm: dict.fromkeys(samples.COUNTERS, 0) for arm in samples.ARMS}
        self.is_held = threading.Event()
        self.is_held.set()

    def call(self, module, arguments):
        self.is_held.wait(LONG_S)
        if self.down:
            return {"failed": True, "msg": "it is down"}
        return getattr(self, module.rpartition(".")[2])(arguments)

    def gateway_calls(self, _arguments):
        age = self.state and [self.state["generation"], self.state["revision"]]
        counts = {arm: dict(counts) for arm, counts in self.calls.items()}
        return {"process": "p", **counts, "gap": "", "behind": False, "age": age}

    def gateway_state(self, arguments):
        (self.share,) = arguments["maps"][team.SHARES].values()
        return {"changed": True}

    def rollout_state(self, arguments):
        wanted = arguments["state"]
        if not self.state or (self.state["generation"], self.state["revision"]) <= (
            wanted["generation"],
            wanted["revision"],
        ):
            self.state = json.loads(json.dumps(wanted))
        return {"states": {"ranker": self.state}}

    def rollout_servers(self, arguments):
        return {
            "servers": {name: {"process": "one", "calls": 0} for name in arguments["instances"]},
            "golden": {name: [len(arguments.get("golden", ())), 0] for name in arguments["instances"]},
        }


@pytest.fixture
def hosts(tmp_path):
    found = {name: Host(name) for name in MEMBERS}
    yield found
    for host in found.values():
        host.is_held.set()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def together(tmp_path, hosts, lines):
    """Return the conductor's team; the others work in threads."""

    def carry_out(name):
        post = team.Post("ranker", name in GATEWAYS, {} if name in GATEWAYS else {"ranker": 8501}, [{"name": "a"}])
        return lambda order: team.carried_out(order, post, hosts[name].call)

    chief = Crew(tmp_path, "edge-1", MEMBERS)
    threads = [
        threading.Thread(target=team.follow, args=[Crew(tmp_path, name, MEMBERS), carry_out(name)], daemon=True)
        for name in MEMBERS[1:]
    ]
    for thread in threads:
        thread.start()
    yield team.Team(chief, "edge-1", MEMBERS, GATEWAYS, ARMS, carry_out("edge-1"), lines.append)
    for host in hosts.values():
        host.is_held.set()
    chief.dismiss()
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()


def test_a_reading_has_all_gateways_and_servers(together, hosts):
    hosts["edge-2"].state = {"generation": 2, "revision": 5}
    reading = together.read(0.1)
    assert set(reading["gateways"]) == set(GATEWAYS)
    assert reading["servers"] == {
        "gpu-a.ranker": {"process": "one", "calls": 0, "arm": "canary"},
        "gpu-b.ranker": {"process": "one", "calls": 0, "arm": "control"},
        "gpu-c.ranker": {"process": "one", "calls": 0, "arm": "control"},
    }
    assert (reading["age"], reading["broken"], reading["notes"]) == ((2, 5), [], [])
    delta, _ = samples.between(reading, together.read(0.1), GATEWAYS)
    assert delta.broken == []


def test_hosts_that_fail_are_named_and_a_control_can_be_spared(together, hosts):
    hosts["edge-1"].down = hosts["gpu-a"].down = hosts["gpu-b"].down = True
    reading = together.read(0.1)
    delta, _ = samples.between({}, reading, GATEWAYS)
    assert delta.broken == ["gateway edge-1 does not answer (it is down)", "server gpu-a does not answer"]
    assert together.share(50) == {"edge-1": "it is down"}
    hosts["gpu-c"].down = True
    delta, _ = samples.between({}, together.read(0.1), GATEWAYS)
    assert "server gpu-b does not answer" in delta.broken


def test_gaps_and_delays_are_told(together, hosts):
    usual = hosts["edge-2"].gateway_calls
    hosts["edge-2"].gateway_calls = lambda arguments: {
        **usual(arguments),
        "gap": "has lost its journal",
        "behind": True,
    }
    reading = together.read(0.1)
    assert reading["broken"] == ["gateway edge-2 has lost its journal"]
    assert reading["notes"] == ["gateway edge-2 logs faster than it can be read; its counts are late"]


def test_a_worker_that_hangs_is_waited_for_once(together, hosts, monkeypatch):
    monkeypatch.setattr(team, "READ_S", 0.3)
    hosts["edge-2"].is_held.clear()
    assert together.read(0.1)["gateways"]["edge-2"] == {"failed": "no answer within 0 s"}
    # It is not asked again, so nothing is waited for.
    monkeypatch.setattr(team, "READ_S", LONG_S)
    assert together.read(0.1)["gateways"]["edge-2"] is None
    hosts["edge-2"].is_held.set()
    until = time.monotonic() + LONG_S
    while together.read(0.1)["gateways"]["edge-2"] is None:
        assert time.monotonic() < until
    # A share is put in force by whoever hangs as soon as it can.
    monkeypatch.setattr(team, "SHARE_S", 0.3)
    hosts["edge-2"].is_held.clear()
    assert together.share(0) == {"edge-2": "no answer within 0 s"}
    assert hosts["edge-1"].share == "0"
    hosts["edge-2"].is_held.set()
    while hosts["edge-2"].share != "0":
        assert time.monotonic() < until


def test_a_record_says_who_has_it_and_who_has_a_newer_one(together, hosts):
    state = begun()
    assert together.record(state) == conduct.Recorded(5, 5)
    assert all(host.state == state.to_json() for host in hosts.values())
    hosts["gpu-c"].state = {**state.to_json(), "generation": 2}
    hosts["gpu-b"].down = True
    assert together.record(state) == conduct.Recorded(3, 5, (2, 1), {"gpu-b": "it is down"})


def test_a_state_with_its_evidence_is_compared_as_hosts_return_it(together):
    seen = verdict.Evidence(START).to_json()
    state = begun(
        evidence=seen, history=({"at": 1.0, "sentence": "canary 1/2 \u2026"},), reverted={"6": {"reason": "x"}}
    )
    assert together.record(state).written == 5


def test_golden_requests_are_counted_by_arm(together):
    assert together.golden(5) == {"canary": (1, 0), "control": (2, 0)}


def test_the_time_of_a_watch_goes_on_evenly_when_the_clock_is_set(together, monkeypatch):
    before = together.now()
    monkeypatch.setattr(team.time, "time", lambda: 0.0)
    assert 0 <= together.now() - before < LONG_S


def test_the_end_of_the_run_ends_the_watch(together):
    together._crew.is_left = lambda: True
    for effect in (lambda: together.read(0.1), lambda: together.sleep(5)):
        with pytest.raises(WishError, match=r"^the run of ansible-playbook has ended; run it again"):
            effect()


@pytest.mark.parametrize(("errors", "end"), [(0, "rest"), (1, "reverting")])
def test_a_whole_watch_over_real_workers(together, hosts, lines, monkeypatch, errors, end):
    clock = [START]

    def sleep(seconds):
        clock[0] += seconds
        for host in (hosts[name] for name in GATEWAYS):
            for arm in samples.ARMS if int(host.share or 0) else ():
                host.calls[arm]["calls"] += 200
                host.calls[arm]["errors"] += 200 * errors if arm == "canary" else 0

    monkeypatch.setattr(together, "sleep", sleep)
    monkeypatch.setattr(together, "now", lambda: clock[0])
    rules = verdict.rules(wish(steps=[50, 100]), 0.1)
    ended = conduct.watch(begun(steps=(50, 100)), rules, together, GATEWAYS, 1)
    assert ended.ended == end
    assert {hosts[name].share for name in GATEWAYS} == {"1000" if end == "rest" else "0"}
    assert {host.state["stage"] for host in hosts.values()} == {end}
    assert states.from_json(hosts["gpu-c"].state) == ended.state
    assert all(line.startswith("ranker 7 -> 8, ") for line in lines)
