# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One large request in shards, on a simulated server whose service time is known."""

from __future__ import annotations

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import conduct, document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.course import Course
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.finish import finished
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.load import Load
from simulated_team import SimulatedTeam

# A request of 64 items takes 2 + 64 ms whole, and 2 + 16 ms in four shards on four slots.
FIXED_S, ITEM_S = 0.002, 0.001


def sharded(team, slots=4, items=64, shards="1,2,4", **more):
    given = {"shards": shards, "items": items}
    asked, sent = simulated_team.asked(**given), simulated_team.requests(**given)
    target = simulated_team.target(slots=slots, **more)
    found = conduct.begun(asked, target, sent, team.names)
    load = Load(asked, target, sent.bodies, team, [4], lambda line: None)
    Course(load, found, lambda kept: None, None).run()
    return found


def server(**more):
    return SimulatedTeam(FIXED_S, ITEM_S, **{"slots": 4, **more})


def test_the_rows_have_what_is_won_and_lost():
    found = sharded(server())
    rows = {row["shards"]: row for row in found["shards"]}
    assert [rows[count]["items"] for count in (1, 2, 4)] == [64, 32, 16]
    assert [rows[count]["p50_us"] for count in (1, 2, 4)] == pytest.approx([66_000, 34_000, 18_000], rel=0.02)
    assert rows[4]["latency_won"] == pytest.approx(66 / 18, rel=0.02)
    # Four shards take 4 x 2 + 64 ms of the server where the whole takes 66.
    assert rows[4]["capacity_lost"] == pytest.approx(1 - 66 / 72, abs=0.01)
    assert rows[1]["capacity_items_per_s"] == pytest.approx(4 * 64 / 0.066, rel=0.02)
    assert rows[4]["capacity_items_per_s"] == pytest.approx(4 * 64 / 0.072, rel=0.02)
    assert found["remarks"][0].startswith("cut requests into 4 shards of 16 items: 3.7 times as fast for 8% less")
    assert document.checked(found, "document") == found


def test_a_server_that_forms_batches_gets_no_shards():
    found = sharded(server(), batched=True)
    assert found["remarks"][0].startswith("leave requests whole: the server forms batches")


def test_the_calls_of_a_request_are_what_the_servers_counters_are_set_against():
    team = server()
    whole, cut = (next(s for s in sharded(team)["stages"] if s["name"] == name) for name in ("1 shard", "4 shards"))
    assert whole["result"]["all"]["sent"] == sum(second["offered"] for second in whole["result"]["seconds"])
    assert cut["result"]["all"]["sent"] == 4 * sum(second["offered"] for second in cut["result"]["seconds"])


def test_numbers_of_shards_are_suggested_by_the_size_of_the_request():
    assert [row["shards"] for row in sharded(server(slots=2), slots=2, shards="auto")["shards"]] == [1, 2, 4, 8]


def test_more_shards_than_items_are_not_tried():
    assert [row["shards"] for row in sharded(server(), items=3, shards="1,2,4")["shards"]] == [1, 2]


def test_requests_of_one_item_have_nothing_to_cut():
    team = server()
    with pytest.raises(WishError) as refused:
        sharded(team, items=1)
    assert str(refused.value) == (
        "shards: has nothing to cut in requests of 1 item; send larger requests: give items, or samples"
    )
    assert team.specs == []


def test_shards_that_are_not_answered_end_the_run():
    # The first requests and the whole ones are answered; what follows is not.
    team = server(ok=lambda number: len(team.specs) <= 2)
    with pytest.raises(WishError) as refused:
        sharded(team)
    assert str(refused.value).startswith("shards: 2 shards: none of the requests was answered (")


def test_the_short_stages_of_single_shards_do_not_decide_whether_a_run_is_valid():
    found = sharded(server())
    alone = next(stage for stage in found["stages"] if stage["name"].endswith("alone"))
    alone["verdict"] = "invalid"
    assert finished(found, [], None, "", False)["verdict"] == "valid"
    found["stages"][0]["verdict"] = "invalid"
    assert finished(found, [], None, "", False)["verdict"] == "invalid"
