# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What tasks hand on from one wave to the next."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models import wave_course

GB = 10**9
COMPLETE = {"complete": True, "failure": "", "own": False}


def host(*here: int, rack: str = "", versions=(7,), **more):
    models = [{"name": "ranker", "versions": list(versions), **more}]
    return {"models": models, "here": {"ranker": {str(version): "published" for version in here}}, "rack": rack}


def begin(hosts, setting="auto", seeds=1, size=50 * GB):
    return wave_course.begin(hosts, setting, seeds, 0.4e9, lambda *_version: size)


def results(hosts, state, **changed):
    """Return the hosts with the results of a wave, as JSON has them; all is well unless ``changed`` says otherwise."""
    found = {name: {**each, "offered": {"skipped": True}, "pulled": {"skipped": True}} for name, each in hosts.items()}
    for reader, holder in state["pairs"].items():
        found[holder]["offered"] = found[reader]["pulled"] = COMPLETE
    for name, each in changed.items():
        found[name] = {**found[name], **each}
    return json.loads(json.dumps(found))


def waves_of(hosts, state):
    """Return the pairs of each wave if all is well."""
    found = []
    state = wave_course.follow(state, hosts)
    while state["pairs"]:
        found.append(state["pairs"])
        state = wave_course.follow(json.loads(json.dumps(state)), results(hosts, state))
    return found, state


# --- which versions ----------------------------------------------------------------------------------------


def test_a_version_that_no_host_has_begins_with_a_seed():
    hosts = {f"h{number:03}": host(rack=f"r{number % 5}") for number in range(200)}
    (found,) = begin(hosts)
    assert (found["model"], found["version"], found["size"], found["seeds"]) == ("ranker", 7, 50 * GB, ["h000"])
    assert found["estimate"] == (
        "ranker version 7: 50 GB, 200 hosts: 8 waves, about 17 min, after the controller has sent 50 GB, not 10 TB"
    )
    assert found["limit_s"] == 5600
    pairs, state = waves_of(hosts, found["state"])
    assert len(pairs) == 8
    assert state["holders"] == sorted(hosts)
    assert state["stranded"] == {}


def test_hosts_that_have_it_are_the_first_holders_and_the_controller_sends_nothing():
    hosts = {"a": host(7), **{name: host() for name in "bcde"}}
    (found,) = begin(hosts)
    assert found["seeds"] == []
    assert found["state"]["holders"] == ["a"]
    assert found["estimate"].endswith("4 hosts: 3 waves, about 6 min; the controller sends nothing, instead of 200 GB")


def test_a_seed_of_each_rack_is_taken_if_so_many_are_wished():
    hosts = {name: host(rack=name[0]) for name in ("a1", "a2", "b1", "b2", "c1")}
    assert begin(hosts, seeds=2)[0]["seeds"] == ["a1", "b1"]


@pytest.mark.parametrize(
    ("hosts", "setting", "size"),
    [
        ({name: host() for name in "abc"}, "auto", 50 * GB),
        ({name: host() for name in "abcd"}, "auto", GB - 1),
        ({"a": host(7), "b": host()}, "always", 50 * GB),
        ({name: host(7) for name in "abcd"}, "always", 50 * GB),
        # One that the controller does not send has no size.
        ({name: host() for name in "abcd"}, "always", 0),
        ({name: host(provided=[]) for name in "abcd"}, "always", 50 * GB),
    ],
)
def test_other_versions_are_not_copied(hosts, setting, size):
    assert begin(hosts, setting, size=size) == []


def test_the_controller_looks_at_no_version_that_too_few_hosts_lack():
    wave_course.begin({name: host() for name in "abc"}, "auto", 1, GB, lambda *_version: pytest.fail("it looked"))


def test_each_version_is_copied_for_itself_among_the_hosts_that_want_it():
    hosts = {"a": host(versions=(6, 7)), "b": host(versions=(6, 7)), "c": host(versions=(7,))}
    found = begin(hosts, "always")
    assert [(each["version"], each["state"]["missing"]) for each in found] == [(6, ["b"]), (7, ["b", "c"])]


def test_hosts_without_an_address_take_no_part_and_cost_no_holder_its_place():
    hosts = {name: {**host(), "address": f"10.0.0.{at}"} for at, name in enumerate("abc", 1)}
    hosts["A"] = {**host(), "address": "gpu-1.example.com"}
    hosts["d"] = {**host(7), "address": "0.0.0.0"}
    assert wave_course.nameless(hosts) == {"A": "gpu-1.example.com", "d": "0.0.0.0"}
    (found,) = begin(hosts, "always")
    assert found["seeds"] == ["a"]
    assert found["state"]["missing"] == ["b", "c"]
    assert begin({name: {**each, "address": name} for name, each in hosts.items()}, "always") == []


# --- from wave to wave -------------------------------------------------------------------------------------


def first(hosts, **options):
    return wave_course.follow(begin(hosts, "always", **options)[0]["state"], hosts)


def test_each_pair_has_a_token_of_its_own():
    hosts = {"a": host(7), "b": host(7), "c": host(), "d": host()}
    state = first(hosts)
    assert state["pairs"] == {"c": "a", "d": "b"}
    assert state["readers"] == {"a": "c", "b": "d"}
    assert len({*state["tokens"].values()}) == 2
    assert all(len(token) == 64 for token in state["tokens"].values())
    assert first(hosts)["tokens"] != state["tokens"]


def test_a_state_has_no_key_that_ansible_takes_for_the_outcome_of_a_task():
    hosts = {"a": host(7), "b": host(7), "c": host(), "d": host()}
    state = first(hosts)
    failed = {"complete": False, "failure": "the transfer broke off", "own": False}
    state = wave_course.follow(state, results(hosts, state, c={"pulled": failed}))
    assert state["blamed"] == [["c", "a"]]
    assert not state.keys() & {"failed", "changed", "skipped", "unreachable", "msg", "rc", "results", "warnings"}


def test_the_reader_of_a_holder_that_offers_nothing_is_given_another():
    hosts = {"a": host(7), "b": host(7), "c": host(), "d": host()}
    state = first(hosts)
    lost = {"complete": False, "failure": "version 7 has other content here", "own": True}
    failed = {"complete": False, "failure": "the transfer broke off", "own": False}
    state = wave_course.follow(state, results(hosts, state, a={"offered": lost}, c={"pulled": failed}))
    assert state["lost"] == {"a": "version 7 has other content here"}
    assert state["pairs"] == {"c": "b"}
    assert state["stranded"] == {}


def test_a_host_that_the_play_has_lost_takes_no_further_part():
    hosts = {"a": host(7), "b": host(7), "c": host(), "d": host()}
    state = first(hosts)
    after = results(hosts, state)
    del after["c"]
    assert wave_course.follow(state, after)["stranded"] == {"c": "it did not answer"}
    after = results(hosts, state)
    del after["a"]
    assert wave_course.follow(state, after)["lost"] == {"a": "it did not answer"}


@pytest.mark.parametrize(
    ("pulled", "reason"),
    [
        ({"unreachable": True, "msg": "no route"}, "it did not answer"),
        ({"skipped": True}, "it did not answer"),
        # The role lets a task that breaks pass.
        ({"failed": False, "failed_when_result": False, "msg": "could not find job"}, "could not find job"),
        ({"failed": False, "failed_when_result": False, "msg": ""}, "no reason was given"),
        # Not over at the end of the wave.
        ({"started": True, "finished": False, "failed": False}, "it did not answer"),
        ({"complete": False, "failure": "its disk is full", "own": True}, "its disk is full"),
    ],
)
def test_a_reader_with_trouble_of_its_own_drops_out(pulled, reason):
    hosts = {"a": host(7), "b": host(7), "c": host(), "d": host()}
    state = first(hosts)
    state = wave_course.follow(state, results(hosts, state, c={"pulled": pulled}))
    assert state["stranded"] == {"c": reason}
    assert state["lost"] == {}
