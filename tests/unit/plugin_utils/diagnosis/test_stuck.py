# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server without answers does, with known answers."""

from __future__ import annotations

import evidence_cases as cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import stuck

SERVER = "samples/1/instances/ranker"
NO_ANSWER = {
    "grpc_health": None,
    "grpc_ms": None,
    "rest_ms": None,
    "status_calls": 1,
    "error": "port 8501 has not answered in full after 2 s",
    "grpc_error": "it has not answered within 2 s",
}


def still(evidence):
    """Return the evidence of a server whose threads all stand in a futex, and of which no call ended."""
    evidence = cases.traffic(evidence, "ranker", grpc_rps=0, rest_rps=0)
    evidence = cases.put(evidence, f"{SERVER}/metrics", cases.at(evidence, "samples/0/instances/ranker/metrics"))
    tasks = [
        {**task, "state": "S", "wchan": "ep_poll" if task["wchan"] == "ep_poll" else "futex_wait_queue"}
        for task in cases.at(evidence, "samples/0/instances/ranker/tasks")
    ]
    return cases.both(evidence, "instances/ranker/tasks", tasks)


def waiting(evidence, unread_bytes=4096):
    return cases.both(
        evidence, "instances/ranker/sockets", {"established": 9, "unread_bytes": unread_bytes, "queued": 0}
    )


def test_a_healthy_server_works():
    found = stuck.look(cases.healthy(), "ranker")
    assert (found.kind, found.certain) == ("working", True)
    assert found.text.startswith("280 threads used ")
    assert found.text.endswith("; 4000 calls ended")


def test_a_server_without_calls_is_idle():
    found = stuck.look(waiting(still(cases.healthy()), 0), "ranker")
    assert (found.kind, found.certain) == ("idle", True)
    assert "100% of those that wait for no events in a futex" in found.text


def test_threads_that_all_wait_for_each_other_while_callers_wait_are_a_deadlock():
    evidence = cases.put(waiting(still(cases.healthy())), "instances/ranker/probe", NO_ANSWER)
    found = stuck.look(evidence, "ranker")
    assert (found.kind, found.certain) == ("deadlock", True)
    assert found.text.endswith("; 0 calls ended")


def test_a_server_that_hangs_renders_no_page_either():
    evidence = cases.put(still(cases.healthy()), "instances/ranker/probe", NO_ANSWER)
    evidence = cases.put(evidence, f"{SERVER}/metrics", None)
    found = stuck.look(evidence, "ranker")
    assert (found.kind, found.certain) == ("deadlock", True)
    assert found.text.endswith("; not known how many calls ended")


def test_a_server_of_which_a_part_still_answers_has_a_pool_whose_threads_all_wait():
    probe = {**NO_ANSWER, "grpc_health": "SERVING", "grpc_ms": 0.8, "grpc_error": ""}
    found = stuck.look(cases.put(waiting(still(cases.healthy())), "instances/ranker/probe", probe), "ranker")
    assert (found.kind, found.certain) == ("exhausted pool", True)


def test_a_thread_that_never_pauses_while_no_call_ends_is_runaway_work():
    evidence = waiting(still(cases.healthy()))
    path = "instances/ranker/tasks/3/cpu_us"
    found = stuck.look(cases.grow(evidence, path, 9_900_000), "ranker")
    assert (found.kind, found.certain) == ("runaway work", True)
    assert "used 0.99 CPUs, 1 without a pause" in found.text


def test_a_server_that_loads_a_model_is_no_runaway():
    evidence = cases.grow(still(cases.healthy()), "instances/ranker/tasks/3/cpu_us", 9_900_000)
    evidence = cases.put(evidence, "instances/ranker/models/ranker/states/0/state", "LOADING")
    assert stuck.look(evidence, "ranker").kind == "loading"


def test_a_server_whose_threads_wait_for_the_disk_waits_for_it():
    evidence = cases.both(waiting(still(cases.healthy())), "instances/ranker/tasks/5/state", "D")
    assert stuck.look(evidence, "ranker").kind == "waiting for disk"


def test_without_threads_nothing_is_known():
    evidence = cases.put(cases.healthy(), f"{SERVER}/tasks", [])
    assert stuck.look(evidence, "ranker").kind == "unknown"
    assert stuck.look(cases.healthy(), "nobody").kind == "unknown"


def test_the_questions_of_the_diagnosis_itself_are_no_calls():
    evidence = waiting(still(cases.healthy()), 0)
    counts = ":tensorflow:serving:request_count"
    evidence = cases.put(
        evidence, f"{SERVER}/metrics/{counts}/0/1", cases.at(evidence, f"{SERVER}/metrics/{counts}/0/1") + 1
    )
    evidence = cases.put(evidence, "instances/ranker/probe/status_calls", 1)
    assert stuck.look(evidence, "ranker").text.endswith("; 0 calls ended")


def test_a_process_that_was_stopped_is_no_deadlock():
    tasks = [{**task, "state": "T", "wchan": "do_signal_stop"} for task in cases.at(cases.healthy(), f"{SERVER}/tasks")]
    evidence = cases.both(waiting(still(cases.healthy())), "instances/ranker/tasks", tasks)
    assert stuck.look(evidence, "ranker").kind == "stopped"


def test_a_call_on_its_way_at_one_look_is_no_caller_that_waits():
    evidence = cases.put(waiting(still(cases.healthy())), "samples/0/instances/ranker/sockets/unread_bytes", 0)
    assert stuck.look(evidence, "ranker").kind == "idle"
