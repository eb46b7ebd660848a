# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Bringing instances up, and back where that fails: what is touched, in which order, and what is said of it."""

from __future__ import annotations

import os
import time

from ansible_collections.tfserving.fleet.plugins.module_utils.serving import blessing
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.conductor import UnprovenError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree import point as atomic_tree_point
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rendered, Rules, plan_tree
from conducted_host import conductor
from ports import free_port
from template_tree_place import Place


def call(host, **params):
    try:
        return conductor(host, **params).conduct()
    except UnprovenError as error:
        return {**error.result, "failed": True}


def serving(host, **ports):
    """Bring instances up that serve; their names and REST ports."""
    instances = [host.lay_down(name, f"{name}-1", port) for name, port in ports.items()]
    result = call(host, instances=instances)
    assert not result.get("failed"), result
    host.deeds.clear()
    return instances


def open_point(host, *files):
    """Let template_tree have changed something that is not proven yet."""
    place = Place(host.root / "place")
    place.state = host.root / "state"
    wanted = {path: Rendered(b"x", path, {}) for path in files or ["a"]}
    tree = place.tree()
    tree.run(lambda one, manifest: plan_tree(one, wanted, Rules(), manifest, True), lambda *_all: None, unproven=True)
    return tree.store


def test_a_second_call_does_nothing(host):
    port, other = free_port(), free_port()
    instances = serving(host, a=port, b=other)
    result = call(host, instances=instances)
    assert (result["changed"], host.deeds) == (False, [])


def test_the_last_call_of_a_run_returns_what_the_instances_really_are(host):
    port = free_port()
    instance = host.lay_down("a", "a-1", port)
    assert "status" not in call(host, instances=[instance], final=False)
    (found,) = call(host, instances=[instance])["status"]["instances"]
    assert (found["name"], found["pid"], found["problem"]) == ("a", host.pid("a"), "")
    assert found["models"][0]["versions"] == [{"version": 1, "state": "AVAILABLE", "error": ""}]
    assert "status" not in call(host, state="restored")


def test_two_that_swap_their_ports_come_up_with_one_stop(host):
    one, two = free_port(), free_port()
    serving(host, a=one, b=two)
    swapped = [host.lay_down("a", "a-2", two), host.lay_down("b", "b-2", one)]
    result = call(host, instances=swapped)
    assert not result.get("failed"), result
    assert host.deeds == ["stop a", "restart b", "start a"]


def test_one_takes_the_port_that_a_removed_one_leaves(host):
    one, two = free_port(), free_port()
    serving(host, a=one, b=two)
    host.remove_files("b")
    result = call(host, instances=[host.lay_down("a", "a-2", two)])
    assert not result.get("failed"), result
    assert host.deeds == ["disable b", "restart a"]


def test_a_server_that_is_stuck_with_what_was_there_before_is_restarted_at_once(host):
    port = free_port()
    instance = host.lay_down("a", "wrong", port)
    host.stuck.add("wrong")
    host.enabled.add("a")
    host.start("a")
    host.stuck.clear()  # what it waited for has been put right, and nothing of that is in its mark
    config = host.root / "etc/a/models.config"
    os.utime(config, (time.time() + 60, time.time() + 60))
    result = call(host, instances=[instance])
    assert not result.get("failed"), result
    assert host.deeds == ["restart a"]


def test_a_server_that_has_just_been_started_is_given_its_time(host):
    port = free_port()
    instance = {**host.lay_down("a", "slow", port), "start_timeout_s": 600}
    host.stuck.add("slow")
    host.enabled.add("a")
    host.start("a")
    begun = conductor(host)
    assert not begun._stuck(begun.units.show("a"), instance)


def test_a_change_that_a_restart_would_not_survive_fails(host):
    port = free_port()
    instance = host.lay_down("a", "a-1", port)
    instance["flags"] = {"model_config_file": "/nowhere/models.config"}
    result = call(host, instances=[instance])
    assert result["failed"]
    assert result["msg"] == (
        "instance a: it serves, but could not read /nowhere/models.config (No such file or directory) after a restart;"
        " keep the models where its unit can see them, every directory on the way open to its account"
    )


def test_what_was_not_touched_goes_on_and_what_is_new_goes_without_any_record(host):
    one, two = free_port(), free_port()
    serving(host, a=one)
    before = host.pid("a")
    new = host.lay_down("new", "broken", two)
    host.stuck.add("broken")
    failed = call(host, instances=[host.lay_down("a", "a-1", one), new])
    assert failed["failed"]
    host.remove_files("new")
    result = call(host, state="restored")
    assert host.pid("a") == before
    assert not host.pid("new")
    assert result["in_force"] == (
        "The previous configuration is back in force: a serves as before this run;"
        " new was not there before this run: it is stopped and its files are gone."
    )


def test_what_was_touched_is_brought_back_and_the_point_is_closed(host):
    port = free_port()
    serving(host, a=port)
    store = open_point(host)
    host.stuck.add("a-2")
    assert call(host, instances=[host.lay_down("a", "a-2", port)])["failed"]
    host.lay_down("a", "a-1", port)
    result = call(host, state="restored", touched=["a"])
    assert result["in_force"] == "The previous configuration is back in force: a serves as before this run."
    assert atomic_tree_point.noted(store, "idle") is None


def test_what_does_not_come_back_is_said_and_the_others_are_seen_to(host):
    one, two = free_port(), free_port()
    serving(host, a=one, b=two)
    host.stop("a")
    host.stop("b")
    host.stuck.add("a-1")
    store = open_point(host)
    result = call(host, state="restored")
    assert host.pid("b")
    assert result["in_force"].startswith(
        "The previous configuration is back in place but not wholly in force: b serves as before this run;"
        " a has its previous files but does not serve: "
    )
    assert store.load("point.json")


def test_one_that_serves_for_the_first_time_is_better_off_and_one_that_is_new_is_not(host):
    one, two, three = free_port(), free_port(), free_port()
    host.lay_down("idle", "idle-1", one)
    host.stuck |= {"idle-1", "broken"}
    host.enabled.add("idle")
    host.start("idle")
    instances = [
        host.lay_down("idle", "idle-2", one),
        host.lay_down("new", "new-1", two),
        host.lay_down("worse", "broken", three),
    ]
    result = call(host, instances=instances)
    assert result["failed"]
    assert result["better"] == ["idle"]


def test_one_that_did_not_serve_before_is_not_waited_for(host):
    port = free_port()
    store = open_point(host)
    host.lay_down("a", "old", port)
    host.stuck.add("old")
    host.enabled.add("a")
    host.start("a")
    atomic_tree_point.note(store, "idle", ["a"])
    result = call(host, state="restored", touched=["a"])
    assert result["in_force"] == (
        "The previous configuration is back in force: a has its previous files, with which it did not serve before"
        " this run either."
    )


def test_ports_that_were_swapped_are_swapped_back_in_order(host):
    one, two = free_port(), free_port()
    serving(host, a=one, b=two)
    assert not call(host, instances=[host.lay_down("a", "a-2", two), host.lay_down("b", "b-2", one)]).get("failed")
    host.deeds.clear()
    host.lay_down("a", "a-1", one)
    host.lay_down("b", "b-1", two)
    result = call(host, state="restored", touched=["a", "b"])
    assert host.deeds == ["stop a", "restart b", "start a"]
    assert result["in_force"] == "The previous configuration is back in force: a and b serve as before this run."


def test_of_one_whose_port_nothing_tells_it_is_not_said_that_it_serves(host):
    port = free_port()
    host.lay_down("a", "a-1", port, described=False)
    host.enabled.add("a")
    host.start("a")
    result = call(host, state="restored")
    assert host.pid("a")
    assert result["in_force"] == (
        "The previous configuration is back in place but not wholly in force:"
        " a has its previous files but does not serve: nothing is known of its port."
    )


def golden_wish(expected):
    request = {
        "name": "first",
        "line": 1,
        "rtol": 0.0,
        "atol": 0.0,
        "inputs": {"x": [[0.0]]},
        "expect": {"y": expected},
    }
    return {"name": "m", "golden": {"file": "golden/m.jsonl", "sha256": "g", "total": 1, "requests": [request]}}


def test_what_golden_requests_have_proven_is_recorded_without_being_a_change(host):
    port = free_port()
    instances = [host.lay_down("a", "a-1", port)]
    options = {"instances": instances, "model_root": str(host.root / "models"), "probe": True}
    call(host, **options)
    result = call(host, **options, models=[golden_wish([[2.0]])])
    assert not result.get("failed"), result
    assert result["changed"] is False
    assert blessing.entry(str(host.root / "blessings"), "m", 1)["proven"] is True
    result = call(host, **options, models=[golden_wish([[3.0]])])
    assert "y[0][0] is 2, expected 3" in result["msg"]
    assert blessing.entry(str(host.root / "blessings"), "m", 1)["proven"] is False
