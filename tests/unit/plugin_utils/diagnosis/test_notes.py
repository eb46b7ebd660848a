# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a report says beside faults: a host against its peers and its own past, and what does not serve."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.diagnosis import diagnosed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.notes import is_apart
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.report.page import page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.report.terminal import terminal
from evidence_cases import at, both, gateway, grow, healthy, put, traffic

SLOW = {"execution_us": {20_000: 0.5, 26_000: 0.4, 45_000: 0.1}, "grpc_rps": 120, "rest_rps": 10}


def fleet(count: int = 4, **slow: dict[str, Any]) -> dict[str, Any]:
    """Return the evidence of some hosts, h1 and so on; ``slow`` has the traffic of ranker where it differs."""
    hosts = {f"h{number}": healthy(host=f"h{number}") for number in range(1, count + 1)}
    return {name: traffic(each, "ranker", **slow[name]) if name in slow else each for name, each in hosts.items()}


def told(document: dict[str, Any], *kinds: str) -> list[str]:
    return [each["text"] for each in document["notes"] if each["kind"] in kinds]


@pytest.mark.parametrize(
    ("ms", "others", "apart"),
    [
        (14.0, [10.0, 10.0, 10.0], True),  # 4 deviations of a tenth of the median
        (13.4, [10.0, 10.0, 10.0], False),  # 3.4
        (14.0, [8.0, 10.0, 12.0], False),  # they differ by 1.4826 * 2 themselves
        (20.8, [8.0, 10.0, 12.0], True),  # 10.8 / 2.97 = 3.64
        (14.0, [10.0, 10.0], True),
        (14.0, [10.0], False),
        (0.9, [0.3, 0.3, 0.3], False),  # 0.6 ms / 0.2 ms = 3
        (6.0, [10.0, 10.0, 10.0], False),
    ],
)
def test_a_latency_is_apart_from_those_of_peers(ms, others, apart):
    assert is_apart(ms, others) is apart


def test_a_lone_slow_host_is_named_with_its_peers():
    document = diagnosed(fleet(h2=SLOW))
    (line,) = told(document, "lone", "fleet")
    assert line.startswith("a lone slow host: h2.ranker takes ")
    assert line.endswith(" ms, and its peers 11 ms; look at its machine before the model")
    assert "a lone slow host: h2.ranker" in terminal(document)
    assert "a lone slow host: h2.ranker" in page(document)


def test_a_fleet_that_misses_its_objective_as_a_whole_has_no_lone_host():
    missing = {**SLOW, "execution_us": {80_000: 0.9, 200_000: 0.1}}
    document = diagnosed(fleet(**dict.fromkeys(("h1", "h2", "h3", "h4"), missing)))
    assert told(document, "lone", "fleet") == [
        "the whole fleet is slow: 4 of 4 hosts miss the objective of ranker; no host stands out, so look at the model"
        " or the load"
    ]


def test_a_fleet_that_is_slower_than_before_is_said_so():
    now = fleet(**dict.fromkeys(("h1", "h2", "h3", "h4"), SLOW))
    document = diagnosed(now, before=fleet())
    (line,) = told(document, "lone", "fleet")
    assert line.startswith("the whole fleet is slower than before: ranker takes ")
    assert " ms, and took 11 ms; no host stands out" in line


def test_two_hosts_are_not_compared():
    assert told(diagnosed(fleet(2, h2=SLOW)), "lone", "fleet") == []


def test_on_a_lone_slow_host_the_machine_comes_before_the_model():
    slow = traffic(healthy(host="h2"), "ranker", rest_rps=400, grpc_rps=0, rest_overhead_us=30_000)
    for counter, by in (
        ("cgroup/cpu_stat/nr_periods", 100),
        ("cgroup/cpu_stat/nr_throttled", 45),
        ("process/wait_us", 9e6),
    ):
        slow = grow(slow, f"instances/ranker/{counter}", by)
    ranks = [[each["id"] for each in diagnosed(hosts)["findings"]] for hosts in ({"h2": slow}, {**fleet(), "h2": slow})]
    assert ranks == [["model.json", "cpu.throttled"], ["cpu.throttled", "model.json"]]


def test_a_change_since_the_earlier_diagnosis_is_one_line_for_all_its_hosts():
    before = {name: put(each, "kernel", "6.12.40") for name, each in fleet(3).items()}
    document = diagnosed(fleet(3), before=before)
    assert told(document, "changed") == [
        "changed since the earlier diagnosis: kernel: 6.12.40, now 6.12.48+deb13-amd64 (h1, h2, h3)"
    ]


def test_plan_versions_and_latency_are_compared_with_the_earlier_diagnosis():
    state = {"version": 8, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}
    now = traffic(put(healthy(), "instances/ranker/models/ranker/states/0", state), "ranker", **SLOW)
    now = put(now, "plan/instances/0/digest", "f" * 64)
    was = at(healthy(), "plan/instances/0/digest")[:12]
    lines = told(diagnosed({"a1": now}, before={"a1": healthy()}), "changed")
    assert lines[:2] == [
        f"changed since the earlier diagnosis: the digest of the plan: {was}, now {'f' * 12} (a1.ranker)",
        "changed since the earlier diagnosis: the versions of ranker: 7, now 8 (a1.ranker)",
    ]
    assert lines[2].startswith("changed since the earlier diagnosis: the mean latency in the server: 11 ms, now ")


def test_what_was_not_read_has_not_changed():
    assert told(diagnosed({"a1": put(healthy(), "kernel", "")}, before={"a1": healthy()}), "changed") == []


def test_an_instance_that_one_of_two_diagnoses_is_not_of_is_neither_new_nor_gone():
    some = put(healthy(), "collector/instances", ["ranker"])
    del some["instances"]["spelling"]
    for today, earlier in ((some, healthy()), (healthy(), some)):
        assert told(diagnosed({"a1": today}, before={"a1": earlier}), "changed") == []


def test_hosts_and_instances_that_do_not_serve_have_lines_of_their_own():
    down = both(healthy(), "instances/ranker/process", None)
    down = put(put(down, "instances/ranker/unit/state", "failed"), "instances/ranker/unit/result", "oom-kill")
    bare = healthy(host="b1", plan=None, instances={})
    for sample in bare["samples"]:
        sample["instances"] = {}
    document = diagnosed({"a1": down, "b1": bare, "g1": gateway()}, {"c1": "it does not answer"})
    assert told(document, "unplanned", "down") == [
        "b1 has no plan in force, so nothing of the fleet serves there; run site.yml",
        "a1.ranker does not run (its unit: failed, oom-kill)",
    ]
    shown = terminal(document)
    assert "Without c1: it does not answer" in shown
    assert "- a1.ranker does not run (its unit: failed, oom-kill)" in shown
    assert document["exit"] == 1


def test_without_its_unit_nobody_knows_whether_an_instance_runs():
    unknown = put(both(healthy(), "instances/ranker/process", None), "instances/ranker/unit", {})
    assert told(diagnosed({"a1": unknown}), "down") == []


def rolling(host: str, second: str) -> dict[str, Any]:
    """Return a healthy host to which a roll-out has given a second version, in a state, under a label of its own."""
    row = {"version": 7, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}
    found = put(
        healthy(host=host), "instances/ranker/models/ranker/states", [row, {**row, "version": 8, "state": second}]
    )
    planned = at(found, "plan/instances/0/model_config/model_config_list/config/0")
    policy, labels = {"specific": {"versions": [7, 8]}}, {"stable": 7, "canary": 8}
    changed = {**planned, "model_version_policy": policy, "version_labels": labels}
    found = put(found, "plan/instances/0/model_config/model_config_list/config/0", changed)
    found = put(found, "plan/models/0", {**at(found, "plan/models/0"), "versions": [7, 8], "rollout": {"canary": 8}})
    shown = "".join(f'version_labels {{ key: "{label}" value: {version} }} ' for label, version in labels.items())
    files = at(found, "instances/ranker/files/models.config").replace(
        "versions: 7 ", f"versions: 7 versions: 8 {shown}"
    )
    found = put(found, "instances/ranker/files/models.config", files)
    versions = at(found, "instances/ranker/model_files/ranker/versions")
    return put(found, "instances/ranker/model_files/ranker/versions", {**versions, "8": dict(versions["7"])})


def test_a_roll_out_in_progress_on_healthy_hosts_is_no_cause():
    rest = put(healthy(host="h3"), "plan/models/0/rollout", {"canary": 8})
    hosts = {"h1": rolling("h1", "AVAILABLE"), "h2": rolling("h2", "LOADING"), "h3": rest}
    # Its gate is held while its servers take the new version.
    hosts["h2"] = put(hosts["h2"], "instances/ranker/gate", {"open": False, "words": "held: rollout of ranker"})
    document = diagnosed({**hosts, "g1": gateway(("h1", "h2", "h3"))})
    assert [(each["id"], each["verdict"]) for each in document["findings"]] == []
    assert document["exit"] == 0
