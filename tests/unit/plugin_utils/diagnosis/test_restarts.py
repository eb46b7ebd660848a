# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server that restarts between the samples: two processes have no counters in common."""

from __future__ import annotations

import evidence_cases as hosts
import fault_cases
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import rank
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.diagnosis import diagnosed

WHY = "it restarted between the samples"


def ids(rows):
    return {each.fault.id for each in rows if each.judged.instance == "spelling"}


def once(**changes):
    return fault_cases.restarted(hosts.healthy(**changes), "spelling", 1)


def test_what_two_processes_counted_gives_no_figure():
    instance = Case(once()).instance("spelling")
    figures = (instance.requests_per_s, instance.request_ms(), instance.cores_used, instance.throttled_ratio)
    assert figures == (None, None, None, None)


def test_what_cannot_be_told_of_a_server_that_restarted_is_unknown_and_says_why():
    found = rank.ranked([Case(once(), peers=hosts.peers())])
    assert ids(found.findings) == set()
    told = [each.judged.test for each in found.unknown if each.judged.instance == "spelling"]
    assert len(told) > 10
    assert set(told) == {WHY}
    assert ids(found.unknown) >= {"model.overload", "model.new_shapes", "cpu.throttled", "cpu.neighbour", "model.json"}


def test_another_instance_of_the_host_is_judged_as_ever():
    before, after = (rank.ranked([Case(each)]) for each in (hosts.healthy(), once()))
    cleared = [
        {each.fault.id for each in found.cleared if each.judged.instance == "ranker"} for found in (before, after)
    ]
    assert cleared[0] == cleared[1]


def test_it_has_no_budget_and_that_is_said():
    document = diagnosed({"a1": once()})
    assert {each["instance"] for each in document["budgets"]} == {"ranker"}
    assert (document["exit"], document["findings"]) == (0, [])


def test_a_page_that_was_read_once_alone_tells_nothing():
    blind = hosts.put(hosts.healthy(), "samples/0/instances/spelling/metrics", None)
    instance = Case(blind).instance("spelling")
    assert (instance.used, instance.requests_per_s, instance.loads()) == (None, None, None)


@pytest.mark.parametrize(
    ("restarts", "age_s", "state", "verdict"),
    [(7, 40, "active", "cause"), (7, 3600, "active", "cleared"), (1, 40, "active", "cleared"),
     (7, 40, "inactive", "cleared"), (None, 40, "active", "unknown")],
)  # fmt: skip
def test_only_a_young_process_that_was_started_again_often_is_a_loop(restarts, age_s, state, verdict):
    evidence = hosts.put(hosts.healthy(), "instances/spelling/unit/restarts", restarts)
    evidence = hosts.put(evidence, "instances/spelling/unit/state", state)
    case = Case(hosts.both(evidence, "instances/spelling/process/age_s", age_s))
    (fault,) = (each for each in rank.faults() if each.id == "server.restarts")
    assert [each.verdict for each in fault.judge(case) if each.instance == "spelling"] == [verdict]


def test_a_process_that_was_read_once_is_not_said_to_have_restarted():
    late = hosts.put(hosts.healthy(), "samples/0/instances/spelling/process", None)
    assert Case(late).restarted == frozenset()


def test_a_gateway_that_was_reloaded_counts_from_nothing():
    evidence = hosts.gateway()
    looks = evidence["gateway"]["stats"]
    # As if nearly all connections of the young process had shaken hands.
    looks[1]["info"].update(Uptime_sec=4, CumReq=looks[0]["info"]["CumReq"] + 900, CumSslConns=5_000)
    found = rank.ranked([Case(evidence)])
    assert found.findings == ()
    assert {"gateway.tls_handshakes", "gateway.skew"} <= {each.fault.id for each in found.unknown}
