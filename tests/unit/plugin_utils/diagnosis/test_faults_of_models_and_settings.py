# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of models and settings: found where they are, cleared where they are not, unknown where nothing is known."""

from __future__ import annotations

from typing import Any

import evidence_cases as hosts
import fault_cases
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import rank
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.finding import Judged

FAULTS = {fault.id: fault for fault in faults() if fault.layer != "resources"}
# Only callers can tell these from others.
SUSPECTED = {"client.message_limit"}
RANK = {"cause": 3, "contributor": 2, "suspect": 1}


def judged(fault: str, case: Case, instance: str | None) -> Judged:
    """Return what a fault says of an instance, the worst of it where it says several things."""
    found = [each for each in FAULTS[fault].judge(case) if each.instance == instance]
    assert found
    return max(found, key=lambda each: RANK.get(each.verdict, 0))


def ranked(case: Case) -> list[str]:
    """Return the ids of what was found, the likeliest first."""
    return [finding.fault.id for finding in rank.ranked([case]).findings]


def test_every_fault_has_a_case():
    assert set(fault_cases.INJECTED) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_found_where_it_is(fault):
    found = judged(fault, fault_cases.case(fault), fault_cases.INJECTED[fault][1])
    assert found.verdict == ("suspect" if fault in SUSPECTED else "cause")
    assert found.proofs
    assert found.test
    assert 0 < found.confidence <= 1
    assert found.impact or found.share


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("shape", [{}, {"with_gpus": False}, {"cgroup": 1}], ids=["gpus", "cpus", "cgroup 1"])
def test_a_healthy_host_has_no_fault(fault, shape):
    case = Case(fault_cases.healthy(**shape), peers=hosts.peers(**shape))
    assert {found.verdict for found in FAULTS[fault].judge(case)} <= {"cleared"}


@pytest.mark.parametrize(
    ("waits_us", "words"), [(1_000, "its queue is short"), (900_000, "its batch threads are busy")]
)
def test_without_a_time_out_a_short_wait_is_no_sign_of_busy_batch_threads(waits_us, words):
    evidence = fault_cases.batching(hosts.healthy(), num_batch_threads=64, batch_timeout_micros=0)
    evidence = hosts.traffic(evidence, "ranker", queue_us=waits_us, error_rps=90, batch_rows=31)
    assert words in judged("batching.queue_full", Case(evidence), "ranker").words


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_nothing_read_is_no_pass(fault):
    blank = hosts.healthy(samples=[], facts={}, gpus=None, instances={name: {} for name in hosts.INSTANCES})
    verdicts = {found.verdict for found in FAULTS[fault].judge(Case(blank))}
    assert verdicts <= {"unknown"}


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("depth", range(1, 7))
def test_foreign_data_of_the_wrong_kind_breaks_no_rule(fault, depth):
    for other in (None, 7, "x", [None, 7], {"x": None}):
        for found in FAULTS[fault].judge(Case(_spoilt(hosts.healthy(), other, depth=depth))):
            assert found.verdict in ("cause", "contributor", "suspect", "cleared", "unknown")


def _spoilt(tree: Any, other: Any, depth: int) -> Any:
    """Return a copy in which whatever lies at a depth is something else."""
    if depth == 0:
        return other
    if isinstance(tree, dict):
        return {key: _spoilt(value, other, depth - 1) for key, value in tree.items()}
    return [_spoilt(value, other, depth - 1) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_the_fault_itself_ranks_before_what_looks_like_it(fault):
    first = ranked(fault_cases.case(fault))
    assert first[0] == fault, first


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_remedy_names_what_does_it(fault):
    remedy = FAULTS[fault].remedy
    assert remedy.text.endswith(".")
    assert remedy.command
    assert FAULTS[fault].refs


def test_what_an_interpreter_is_given_is_no_flag_of_the_server():
    evidence = fault_cases.healthy()
    words = hosts.at(evidence, "instances/ranker/cmdline")
    started = hosts.put(evidence, "instances/ranker/cmdline", ["/usr/bin/python3", "-s", "-m", "server", *words[1:]])
    assert judged("flags.unknown", Case(started), "ranker").verdict == "cleared"
    misspelt = hosts.put(started, "instances/ranker/cmdline", ["/usr/bin/python3", "-m", "server", "--prot=8500"])
    assert judged("flags.unknown", Case(misspelt), "ranker").verdict == "cause"


def test_a_server_that_opens_no_port_is_stuck_only_by_suspicion():
    evidence = fault_cases.still(fault_cases.healthy(), "spelling")
    ports = {8510, 8511}
    closed = [each for each in hosts.at(evidence, "facts/listeners") if each["port"] not in ports]
    assert judged("model.stuck", Case(evidence), "spelling").verdict == "cause"
    assert judged("model.stuck", Case(hosts.put(evidence, "facts/listeners", closed)), "spelling").verdict == "suspect"


def promoted(*rows: tuple[int, str, str, str], written_s: float, changed: bool = False) -> Case:
    """Return a host whose plan has moved to version 42, with its file of models written some seconds ago."""
    evidence = fault_cases.label(hosts.healthy(), "spelling", "stable", 42)
    policy = {"specific": {"versions": [42]}}
    path = "plan/instances/1/model_config/model_config_list/config/0/model_version_policy"
    evidence = hosts.put(evidence, path, policy)
    written = {"models.config": hosts.AT + hosts.WINDOW_S - written_s}
    evidence = hosts.put(evidence, "instances/spelling/files_changed", written)
    evidence["collector"]["plan_changed"] = changed
    return Case(fault_cases.states(evidence, "spelling", *rows))


OLD, NEW, ENDED = (41, "AVAILABLE", "OK", ""), (42, "LOADING", "OK", ""), (42, "END", "OK", "")


@pytest.mark.parametrize(
    ("rows", "written_s", "changed", "verdicts"),
    [
        ((OLD,), 4, False, {"unknown"}),
        ((OLD,), 300, False, {"cause"}),
        ((OLD,), 300, True, {"unknown"}),
        ((OLD, ENDED), 4, False, {"cause"}),
        ((OLD, NEW), 300, False, {"cleared"}),
    ],
    ids=["not heard of yet", "never heard of", "promoted meanwhile", "ended", "loads"],
)
def test_seconds_after_a_promotion_no_label_and_no_version_is_missing(rows, written_s, changed, verdicts):
    case = promoted(*rows, written_s=written_s, changed=changed)
    told = {judged(fault, case, "spelling").verdict for fault in ("models.label", "model.version_skew")}
    assert told == verdicts


def test_a_label_that_moves_is_in_the_file_before_it_is_in_the_plan():
    evidence = fault_cases.label(hosts.healthy(), "spelling", "canary", 41)
    evidence = hosts.put(evidence, "instances/spelling/files/models.config", "model_config_list {}")
    for written_s, verdict in ((3, "unknown"), (300, "cause")):
        written = {"models.config": hosts.AT + hosts.WINDOW_S - written_s}
        case = Case(hosts.put(evidence, "instances/spelling/files_changed", written))
        assert judged("models.label", case, "spelling").verdict == verdict


def test_usual_requests_are_no_giants_beside_those_of_the_probe():
    page, labels = {}, {"model_name": "spelling", "API": "Predict", "entrypoint": "GRPC"}
    hosts.histogram(page, ":tensorflow:serving:request_latency", labels, {3_000: 80, 60_000: 20})
    hosts.histogram(page, ":tensorflow:core:graph_run_input_tensor_bytes", {}, {1_000: 80, 1_000_000: 20}, 1, 4, 20)
    page[":tensorflow:serving:request_count"] = [[{"model_name": "spelling", "status": "OK"}, 100]]
    evidence = hosts.put(hosts.healthy(), "samples/0/instances/spelling/metrics", {})
    evidence = hosts.put(evidence, "samples/1/instances/spelling/metrics", page)
    evidence = hosts.put(evidence, "plan/instances/1/objective_p99_ms", None)
    assert judged("model.giant_requests", Case(evidence), "spelling").verdict == "cause"
    probed = {"spelling": {"via": "direct", "entrypoint": "GRPC", "calls": 80, "mean_ms": 3.5}}
    assert judged("model.giant_requests", Case(evidence, client=probed), "spelling").verdict == "cleared"
