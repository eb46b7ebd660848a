# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""rollout.yml and rollback.yml as a whole, with stand-ins for roles, gates and callers (support/rollout_place.py)."""

from __future__ import annotations

import json
import re

import pytest
from rollout_place import RolloutPlace


@pytest.fixture
def place(tmp_path):
    return RolloutPlace(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A fleet in which version 8 is rolled out, and what was said of it; tests go on from copies."""
    made = RolloutPlace(tmp_path_factory.mktemp("done"))
    return made, made.roll()


@pytest.fixture(scope="module")
def half_way(tmp_path_factory):
    """A fleet whose roll-out is held at half of the calls, and what was said of it; tests go on from copies."""
    made = RolloutPlace(tmp_path_factory.mktemp("half_way"))
    made.verdicts(p50="no traffic")
    return made, made.roll()


@pytest.fixture(scope="module")
def second_fails(tmp_path_factory):
    """A fleet whose roll-out is held since its second host failed, and what was said; tests go on from copies."""
    made = RolloutPlace(tmp_path_factory.mktemp("second_fails"))
    return made, made.roll("rollout", "-e", json.dumps({"fails": "tfserving", "failing": ["h2"]}))


def test_every_fleet_that_tests_go_on_from_came_to_where_it_is_said_to_be(done, half_way, second_fails):
    assert done[1][0] == 0, done[1][1]
    assert half_way[1][0] != 0
    assert "50 % of the traffic, step 2 of 3, canary h1; held: no traffic; run" in half_way[1][1]
    assert second_fails[1][0] != 0
    assert "held: h2: no answer from ranker 8" in second_fails[1][1]


def test_a_version_goes_through_all_steps_to_the_end_and_back(done, tmp_path):
    place, (code, output) = done[0].copied(tmp_path), done[1]
    assert code == 0, output
    assert place.served() == {"h1": [8], "h2": [8]}
    state = place.state()
    assert (state["stage"], state["arms"], state["generation"]) == ("done", {}, 1)
    assert "ranker 7 -> 8: being prepared 5 % and 50 %: h1, compared with h2" in output
    assert "ranker 7 -> 8: rolled out" in output
    log = place.log()
    # The first host alone, behind its gate, after the gateways have learnt of it; the rest follows one by one, in any
    # order.
    loaded = [line for line in log if line.startswith("tfserving h")]
    assert (loaded[:2], sorted(loaded[2:])) == (["tfserving h1", "tfserving h2"],) * 2
    ahead = ("gateway edge", "gate draining h1", "tfserving h1", "golden h1 7 8 h2", "gate open h1")
    at = [log.index(line) for line in ahead]
    assert at == sorted(at)
    # Run again, it has nothing to do, and says so before it changes anything.
    code, output = place.roll()
    assert code != 0
    assert "tfserving_models[0].version: has nothing to roll out: every host serves 8; name another version" in output
    assert place.state() == state
    # What is done can be taken back, without the source and without a lock.
    code, output = place.roll("rollback", "-e", "reason='wrong scores'")
    assert code == 0, output
    assert place.served() == {"h1": [7], "h2": [7]}
    assert re.search(r"ranker 8 -> 7: 2 of 2 hosts answer with 7 \([0-9.]+ s\); confirming files", output), output
    assert place.state()["reverted"]["8"]["reason"] == "wrong scores"
    # Gateways first, then each host with one call; the long way is behind that.
    log = place.log()
    assert (log[0], set(log[1:3])) == ("share 0 edge", {"return h1", "return h2"})
    assert log.index("host_plan h1") > 2
    assert not [line for line in place.log() if line.startswith("model_repository")]


def test_a_worse_version_is_taken_back_and_remembered(place):
    place.verdicts(p5="fail")
    code, output = place.roll()
    assert code != 0
    assert "ranker 7 -> 8: taken back: 10 times as many errors; name another version, or set rollout.retry" in output
    assert place.served() == {"h1": [7], "h2": [7]}
    state = place.state()
    assert (state["stage"], state["reverted"]["8"]["reason"]) == ("reverted", "10 times as many errors")
    log = place.log()
    assert log.index("share 0 edge") < len(log) - 1 - log[::-1].index("tfserving h1")
    code, output = place.roll()
    assert code != 0
    assert "version 8 of ranker was reverted: 10 times as many errors; name another version, or set" in output
    assert not [line for line in place.log() if line.startswith(("tfserving", "gate"))]


def test_a_version_that_does_not_load_on_the_first_host_is_taken_back_before_any_traffic(place):
    code, output = place.roll("rollout", "-e", json.dumps({"fails": "tfserving", "failing": ["h1"]}))
    # The stand-in fails on the way back as well. That keeps no other host from it, and the rest is for the next run.
    assert code != 0
    assert "h1 may still serve ranker 8, without a share of the calls; repair the cause above and run" in output
    assert "tfserving h2" in place.log()
    state = place.state()
    assert state["stage"] == "reverting"
    assert state["reverted"]["8"]["reason"] == "h1: no answer from ranker 8"
    assert "tfserving h2" not in place.log()[: place.log().index("share 0 edge")]


def test_wrong_answers_to_golden_requests_take_the_version_back_before_any_traffic(place):
    code, output = place.roll("rollout", "-e", json.dumps({"answered": {"wrong": "ranker 8 answers wrongly: no"}}))
    assert code != 0
    assert "ranker 8: asked" in output
    assert "ranker 7 -> 8: taken back: h1: ranker 8 answers wrongly: no; name another version" in output
    state = place.state()
    assert (state["stage"], state["reverted"]["8"]["reason"]) == ("reverted", "h1: ranker 8 answers wrongly: no")
    assert place.served() == {"h1": [7], "h2": [7]}
    assert "gate open h1" not in place.log()[: place.log().index("share 0 edge")]


def test_golden_requests_that_a_gateway_could_not_ask_hold_the_roll_out_and_are_asked_again(place):
    code, output = place.roll("rollout", "-e", json.dumps({"answered": {"unproven": "h1 port 8501 does not answer"}}))
    assert code != 0
    assert "held: h1: h1 port 8501 does not answer; run tfserving.fleet.rollout again to go on" in output
    assert (place.state()["stage"], place.state()["reverted"]) == ("canary", {})
    assert "gate open h1" not in place.log()
    code, output = place.roll()
    assert code == 0, output
    log = place.log()
    at = [log.index(line) for line in ("tfserving h1", "golden h1 7 8 h2", "gate open h1")]
    assert at == sorted(at)


def test_a_gateway_that_is_lost_before_it_has_asked_is_not_said_of_the_host(place):
    code, output = place.roll("rollout", "-e", json.dumps({"answered": {"unreachable": True, "msg": "no route"}}))
    assert code != 0
    assert "held: h1: edge can no longer be reached, which asks the golden requests; run" in output
    assert (place.state()["stage"], place.state()["reverted"]) == ("canary", {})


def test_a_host_that_fails_later_holds_the_roll_out_and_the_next_run_goes_on(second_fails, tmp_path):
    place, (code, output) = second_fails[0].copied(tmp_path), second_fails[1]
    assert code != 0
    assert "held: h2: no answer from ranker 8; run tfserving.fleet.rollout again to go on" in output
    state = place.state()
    assert (state["stage"], state["step"], state["reverted"]) == ("share", 2, {})
    assert place.served() == {"h1": [7, 8], "h2": [7]}
    code, output = place.roll()
    assert code == 0, output
    assert "tfserving h1" not in place.log()[: place.log().index("tfserving h2")]
    assert place.served() == {"h1": [8], "h2": [8]}
    assert place.state()["generation"] == 2


def test_a_host_whose_gate_could_not_be_opened_is_back_in_the_traffic_after_the_next_run(place):
    code, output = place.roll("rollout", "-e", json.dumps({"fails": "gate open", "failing": ["h1"]}))
    assert code != 0
    assert place.state()["held"] == "h1: no answer from ranker 8"
    code, output = place.roll()
    assert code == 0, output
    assert "gate open h1" in place.log()


def test_a_host_whose_step_a_person_takes_as_passed_is_back_in_the_traffic_at_the_end(second_fails, tmp_path):
    place = second_fails[0].copied(tmp_path)
    assert "gate draining h2" in place.log()
    assert "gate open h2" not in place.log()
    code, output = place.roll("rollout", "-e", "promote=true")
    assert code == 0, output
    log = place.log()
    assert log.index("tfserving h2") < log.index("gate open h2")


def test_a_first_host_that_may_not_leave_holds_the_roll_out_before_anybody_goes_on_without_it(place):
    code, output = place.roll("rollout", "-e", json.dumps({"fails": "fleet/capacity", "failing": ["h1"]}))
    assert code != 0
    assert "held: h1: no answer from ranker 8" in " ".join(output.split())
    assert (place.state()["stage"], place.served()) == ("canary", {"h1": [7], "h2": [7]})
    # What waits for its turn to fail must not be taken for ready.
    assert not [line for line in place.log() if line.startswith(("gateway", "tfserving h"))]
    code, output = place.roll()
    assert code == 0, output
    assert place.served() == {"h1": [8], "h2": [8]}


def test_a_host_that_cannot_record_the_state_ends_the_run_for_all(place):
    code, output = place.roll("rollout", "-e", json.dumps({"full": ["h2"]}))
    assert code != 0
    assert "h2: No space left on device; repair that and run the playbook again" in " ".join(output.split())
    assert not [line for line in place.log() if line.startswith(("gateway", "tfserving h"))]
    assert {name: state["stage"] for name, state in place.states().items()} == dict.fromkeys(place.states(), "canary")
    code, output = place.roll()
    assert code == 0, output
    assert place.served() == {"h1": [8], "h2": [8]}


@pytest.mark.parametrize("fails", ["host_plan", "headroom"])
def test_a_failed_preparation_leaves_everything_as_it_was_and_says_so(place, fails):
    code, output = place.roll("rollout", "-e", json.dumps({"fails": fails, "failing": ["h2"]}))
    assert code != 0
    assert "no answer from ranker 8" in output
    assert (
        "ranker 8 could not be prepared on h2; this run has changed nothing that serves, and moved no call; remove the"
        " cause above and run tfserving.fleet.rollout again"
    ) in output
    assert place.state()["stage"] == "prepare"
    assert place.served() == {"h1": [7], "h2": [7]}
    assert not [line for line in place.log() if line.startswith(("gate", "tfserving h", "share"))]
    # Once the cause is removed, the same run goes on, from what either leaves behind; or another version takes the
    # place of this one.
    if fails == "host_plan":
        code, output = place.roll()
        assert code == 0, output
        assert place.served() == {"h1": [8], "h2": [8]}


def test_a_version_that_the_first_host_has_no_memory_for_any_more_is_held_and_not_blamed(place):
    code, output = place.roll("rollout", "-e", json.dumps({"fails": "headroom now", "failing": ["h1"]}))
    assert code != 0
    assert "held: h1: no answer from ranker 8" in output
    assert place.served() == {"h1": [7], "h2": [7]}
    assert (place.state()["stage"], place.state()["reverted"]) == ("canary", {})
    # Neither has its gate been closed, nor a version been loaded. A run goes on from there as from a host that may not
    # leave (above).
    assert not [line for line in place.log() if line.startswith(("gate d", "tfserving h"))]


def test_what_one_host_alone_knows_of_a_rollback_counts(half_way, tmp_path):
    place, (code, output) = half_way[0].copied(tmp_path), half_way[1]
    assert code != 0
    assert "50 % of the traffic, step 2 of 3, canary h1; held: no traffic; run" in output
    newer = {**place.state(), "generation": 9, "stage": "reverting", "held": "", "is_share_zero": True}
    (place.folder / "h2/rollout/ranker.json").write_text(json.dumps(newer))
    code, output = place.roll()
    assert code != 0
    assert (place.state()["stage"], place.state()["generation"]) == ("reverted", 10)
    assert "taken back" in output


def test_hosts_that_do_not_answer_with_the_version_before_are_named(half_way, tmp_path):
    place = half_way[0].copied(tmp_path)
    code, output = place.roll("rollback", "-e", json.dumps({"slow": ["h1"], "dead": ["h2"]}))
    assert "ranker 8 -> 7: 0 of 2 hosts answer with 7" in output
    assert "not yet: h1 (instance ranker: model ranker version 7 is LOADING after 12 s)" in output
    assert "not yet: h2 (it cannot be reached)" in output
    # The host that loads is confirmed all the same, and the other one is for the next run.
    assert code != 0
    assert place.served() == {"h1": [7], "h2": [7]}
    assert "h2 may still serve ranker 8, without a share of the calls; repair the cause above and run" in output
    code, output = place.roll("rollback")
    assert code == 0, output
    assert place.state()["stage"] == "reverted"


def test_a_host_that_missed_a_rollback_goes_back_with_the_next(done, tmp_path):
    place = done[0].copied(tmp_path)
    assert place.roll("rollback", "--limit", "h1,edge")[0] == 0
    assert place.served() == {"h1": [7], "h2": [8]}
    # Nothing begins beside it: its version would be the one to go back to.
    place.wish(7)
    code, output = place.roll()
    assert code != 0
    assert "tfserving_models[0].version: names 7, and h2 may still serve 8, which was taken back; run" in output
    code, output = place.roll("rollback")
    assert code == 0, output
    # By its record as well, which the next site.yml goes by.
    assert place.served() == {"h1": [7], "h2": [7]}
    assert place.state()["stage"] == "reverted"
    assert place.roll("rollback")[0] == 0
    assert not [line for line in place.log() if line.startswith("tfserving")]


def test_a_fleet_whose_gateways_know_of_no_roll_out_asks_its_hosts(done, tmp_path):
    place = done[0].copied(tmp_path)
    (place.folder / "edge/rollout/ranker.json").unlink()
    code, output = place.roll("rollback")
    assert code == 0, output
    assert "ranker 8 -> 7: 2 of 2 hosts answer with 7" in output
    assert place.state()["stage"] == "reverted"


def test_a_way_back_that_does_not_exist_is_refused_before_anything_is_changed(place):
    for arguments, words in (
        (["-e", "model="], "model: is missing; add -e model=NAME"),
        ([], "model: ranker has no roll-out to take back, so no version before it is known; name the version"),
    ):
        code, output = place.roll("rollback", *arguments)
        assert code != 0
        assert words in output
        assert "Traceback" not in output
        assert not [line for line in place.log() if not line.startswith(("share", "return"))]


def test_a_rollback_whose_limit_leaves_out_a_gateway_is_refused_before_anything_is_changed(half_way, tmp_path):
    place = half_way[0].copied(tmp_path)
    code, output = place.roll("rollback", "--limit", "h1,h2")
    assert code != 0
    assert "--limit: leaves out edge, which would keep sending calls to the version; add :tfserving_gateways" in output
    assert not place.log()
    assert place.state()["stage"] == "share"


def test_a_run_without_a_model_is_refused_in_one_sentence(place):
    code, output = place.run("rollout.yml")
    assert code != 0
    assert "model: is missing; add -e model=NAME; the models are ranker" in output
    assert "Traceback" not in output


def test_a_gateway_that_does_not_log_its_calls_is_refused_before_anything_changes(place):
    code, output = place.roll("rollout", "-e", json.dumps({"gateway_log_calls": "{{ 1 > 2 }}"}))
    assert code != 0
    assert "gateway_log_calls: is false for edge, and steps are judged by the calls in its journal; set it" in output
    assert not place.log()
    assert not (place.folder / "edge/rollout/ranker.json").exists()


def test_too_few_forks_for_the_watch_are_refused_before_anything_changes(place):
    code, output = place.roll("rollout", "--forks", "2")
    assert code != 0
    assert "forks: is 2, and 1 gateway and a host of each arm have to be looked at together; run with" in output
    assert not place.log()
    assert not (place.folder / "edge/rollout/ranker.json").exists()


def test_check_mode_shows_the_course_and_changes_nothing(place):
    code, output = place.roll("rollout", "--check")
    assert code == 0, output
    assert "5 % and 50 %: h1, compared with h2" in output
    assert place.served() == {"h1": [7], "h2": [7]}
    assert not (place.folder / "h1/rollout/ranker.json").exists()
