# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults that look alike, and two faults at a time: which one is said to be the cause."""

from __future__ import annotations

import evidence_cases as hosts
import fault_cases
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import batched, rank
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from repository import REPOSITORY

FAULTS = {fault.id: fault for fault in faults()}
RANK = {"cause": 3, "contributor": 2, "suspect": 1}


def verdict(fault: str, case: Case, instance: str | None = "ranker") -> str:
    found = [each for each in FAULTS[fault].judge(case) if each.instance == instance]
    return max((each.verdict for each in found), key=lambda each: RANK.get(each, 0), default="nothing")


def ranked(case: Case) -> list[str]:
    """Return the ids of what was found, the likeliest first."""
    return [finding.fault.id for finding in rank.ranked([case]).findings]


# Of each pair the first is what the host has, and the second what looks like it from afar.
ALIKE = [
    ("batching.timeout_long", "batching.never_fill", "ranker"),
    ("batching.timeout_long", "model.overload", "ranker"),
    ("batching.timeout_long", "batching.queue_full", "ranker"),
    ("batching.queue_full", "batching.timeout_long", "ranker"),
    ("batching.padding", "batching.slower", "ranker"),
    ("model.json", "rest.threads", "spelling"),
    ("rest.threads", "model.json", "spelling"),
    ("rest.threads", "rest.port_closed", "spelling"),
    ("rest.port_closed", "rest.threads", "spelling"),
    ("rest.port_closed", "model.stuck", "spelling"),
    ("model.load_fails", "models.base_path", "spelling"),
    ("models.base_path", "model.load_fails", "spelling"),
    ("model.load_fails", "models.reload_loop", "spelling"),
    ("models.reload_loop", "model.load_fails", "spelling"),
    ("model.no_warmup", "model.new_shapes", "spelling"),
    ("model.new_shapes", "model.no_warmup", "spelling"),
    ("model.giant_requests", "model.no_warmup", "spelling"),
    ("rest.time_limit", "model.late_work", "spelling"),
    ("model.late_work", "rest.time_limit", "spelling"),
    ("model.overload", "model.stuck", "spelling"),
    ("model.stuck", "model.overload", "spelling"),
    ("model.overload", "cpu.throttled", "spelling"),
    ("models.label", "model.load_fails", "spelling"),
]


@pytest.mark.parametrize(("fault", "other", "instance"), ALIKE)
def test_what_looks_alike_is_told_apart(fault, other, instance):
    case = fault_cases.case(fault)
    assert verdict(fault, case, instance) == "cause"
    assert verdict(other, case, instance) in ("cleared", "unknown", "nothing")


def test_a_throttled_instance_is_not_called_overloaded():
    evidence = fault_cases.INJECTED["model.overload"][0]()
    evidence = hosts.grow(evidence, "instances/spelling/cgroup/cpu_stat/nr_periods", 100)
    evidence = hosts.grow(evidence, "instances/spelling/cgroup/cpu_stat/nr_throttled", 80)
    case = Case(evidence, peers=hosts.peers())
    assert verdict("model.overload", case, "spelling") == "cleared"
    assert ranked(case)[0] == "cpu.throttled"


@pytest.mark.parametrize(
    ("finished", "said"),
    [(None, "suspect"), (0, "cause")],
    ids=["no page to count calls", "no call ended"],
)
def test_work_that_runs_away_is_sure_only_where_calls_are_counted(finished, said):
    evidence = hosts.healthy()
    for task in evidence["samples"][1]["instances"]["spelling"]["tasks"][:4]:
        task["cpu_us"] += hosts.WINDOW_S * 1e6
    if finished is None:
        evidence = fault_cases.silent(evidence, "spelling")
        evidence = hosts.put(evidence, "instances/spelling/probe", {"error": "late", "grpc_error": "late"})
    else:
        page = hosts.at(evidence, "samples/0/instances/spelling/metrics")
        evidence = hosts.put(evidence, "samples/1/instances/spelling/metrics", page)
    assert verdict("model.stuck", Case(evidence), "spelling") == said


def test_a_state_that_could_not_be_asked_for_is_no_missing_version():
    evidence = fault_cases.silent(hosts.healthy(), "spelling")
    for fault in ("model.version_skew", "model.load_fails"):
        assert verdict(fault, Case(evidence, peers=hosts.peers()), "spelling") == "unknown"


def test_a_process_that_was_stopped_is_told_from_a_deadlock():
    evidence = fault_cases.still(hosts.healthy(), "spelling")
    for sample in evidence["samples"]:
        for task in sample["instances"]["spelling"]["tasks"]:
            task["state"] = "T"
    (found,) = (each for each in FAULTS["model.stuck"].judge(Case(evidence)) if each.instance == "spelling")
    assert (found.verdict, found.words) == ("cause", "somebody stopped its process (SIGSTOP)")


def test_a_server_that_ends_over_its_model_is_told_by_its_last_words():
    evidence = hosts.both(hosts.healthy(), "instances/spelling/process", None)
    evidence = hosts.both(fault_cases.silent(evidence, "spelling"), "instances/spelling/tasks", [])
    words = "Loading servable: {name: spelling version: 41} failed: Not found: Op type not registered"
    evidence = hosts.put(evidence, "instances/spelling/cmdline", [])
    case = Case(fault_cases.logged(evidence, "spelling", words))
    (found,) = (each for each in FAULTS["model.load_fails"].judge(case) if each.instance == "spelling")
    assert (found.verdict, found.impact, found.words) == ("cause", 1.0, "it cannot start")
    assert any("Op type not registered" in proof.value for proof in found.proofs)


def test_wrong_sizes_are_told_of_a_server_that_is_down():
    evidence = fault_cases.batching(hosts.healthy(), allowed_batch_sizes=(8, 16))
    evidence = hosts.put(hosts.both(evidence, "instances/ranker/process", None), "instances/ranker/cmdline", [])
    assert verdict("batching.sizes", Case(evidence)) == "cause"


SPLITTING = {"enable_large_batch_splitting": "true", "max_batch_size": 700}


@pytest.mark.parametrize(
    ("sizes", "said"), [((8, 32, 700), "cleared"), ((8, 32), "cause"), ((32, 8, 700), "cause"), ((), "cleared")]
)
def test_the_last_size_is_that_of_the_largest_request_also_where_it_is_cut(sizes, said):
    evidence = fault_cases.batching(
        hosts.healthy(), max_execution_batch_size=32, allowed_batch_sizes=sizes, **SPLITTING
    )
    assert verdict("batching.sizes", Case(evidence)) == said


def test_batches_are_full_by_the_size_of_a_batch_and_not_by_that_of_the_largest_request():
    instance = Case(fault_cases.batching(hosts.healthy(), max_execution_batch_size=32, **SPLITTING)).instances[0]
    found = batched.in_force(instance)
    assert (found.size, found.largest, found.splits) == (32, 700, True)
    # Without its own size a batch takes a whole request, and without splitting the server does not read that size.
    whole = Case(fault_cases.batching(hosts.healthy(), **SPLITTING)).instances[0]
    unread = Case(fault_cases.batching(hosts.healthy(), max_execution_batch_size=8)).instances[0]
    assert (batched.in_force(whole).size, batched.in_force(unread).size) == (700, 32)


@pytest.mark.parametrize(
    ("line", "said"), [("Failed to start HTTP Server at localhost:8511", "cause"), ("", "cleared")]
)
def test_a_port_whose_owner_is_not_known_is_judged_by_the_log(line, said):
    evidence = hosts.healthy()
    for row in evidence["facts"]["listeners"]:
        row["pid"] = None
    assert verdict("rest.port_closed", Case(fault_cases.logged(evidence, "spelling", line)), "spelling") == said


def test_capped_callers_make_the_time_out_a_contributor():
    case = fault_cases.case("batching.never_fill")
    assert verdict("batching.never_fill", case) == "cause"
    assert verdict("batching.timeout_long", case) == "contributor"


def test_full_load_that_keeps_the_objective_is_no_fault():
    evidence = hosts.traffic(hosts.healthy(), "spelling", execution_us={3_000: 1.0}, grpc_rps=1200)
    case = Case(fault_cases.busy(evidence, "spelling", 0.97), peers=hosts.peers())
    found = {judged.verdict for fault in faults() if fault.layer != "resources" for judged in fault.judge(case)}
    assert found <= {"cleared", "unknown"}


def test_a_roll_out_is_neither_a_loop_nor_a_skew():
    evidence = fault_cases.states(hosts.healthy(), "spelling", (41, "AVAILABLE", "OK", ""), (42, "LOADING", "OK", ""))
    metric = "instances/spelling/metrics/:tensorflow:cc:saved_model:load_attempt_count/0/1"
    case = Case(hosts.grow(evidence, metric, 1), peers=hosts.peers())
    assert verdict("models.reload_loop", case, "spelling") == "cleared"
    assert verdict("model.version_skew", case, "spelling") == "cleared"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("batching.timeout_long", "models.base_path"),
        ("batching.padding", "flags.unknown"),
        ("batching.never_fill", "model.load_fails"),
        ("batching.queue_full", "tls.certificate"),
        ("batching.sizes", "rest.threads"),
    ],
)
def test_of_two_faults_both_are_among_the_first_three(one, other):
    """The first one is ranker's, the second spelling's or the host's."""
    evidence, second = fault_cases.INJECTED[one][0](), fault_cases.INJECTED[other][0]()
    evidence["instances"]["spelling"] = second["instances"]["spelling"]
    evidence["facts"] = second["facts"]
    for sample, also in zip(evidence["samples"], second["samples"], strict=True):
        sample["instances"]["spelling"] = also["instances"]["spelling"]
    assert {one, other} <= set(ranked(Case(evidence, peers=hosts.peers()))[:3])


def test_the_table_of_injections_has_every_fault():
    table = yaml.safe_load((REPOSITORY / "tests/unit/support/fault_injections.yml").read_text(encoding="utf-8"))
    assert set(table) >= set(fault_cases.INJECTED)
    for fault in fault_cases.INJECTED:
        assert fault in ranked(fault_cases.case(fault))[: table[fault]["rank"]]


def test_certificates_that_nobody_looked_at_are_not_checked_where_there_is_tls():
    secured = hosts.put(
        hosts.healthy(),
        "instances/ranker/cmdline",
        ["/usr/bin/tensorflow_model_server", "--ssl_config_file=/etc/tfserving/ranker/ssl.config"],
    )
    for evidence in (secured, hosts.gateway()):
        (judged,) = FAULTS["tls.certificate"].judge(Case(evidence))
        assert judged.verdict == "unknown"
        assert "diagnosis_certificates names their files" in judged.test
    assert FAULTS["tls.certificate"].judge(Case(hosts.healthy())) == []
