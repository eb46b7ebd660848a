# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis as a whole: what ranks first, what healthy hosts give, how it ends, and how it is shown."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import publish
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.diagnosis import diagnosed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.finding import Fault, Judged, Remedy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.rank import EXPLAINS, ranked
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.report.page import page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.report.terminal import terminal
from evidence_cases import gateway, grow, healthy, peers, put, traffic
from repository import REPOSITORY
from resource_faults import TABLE

Evidence = dict[str, Any]
SCHEMA = json.loads((REPOSITORY / "docs" / "diagnosis-schema.json").read_text(encoding="utf-8"))
CAUSES = [each for each in TABLE if each.verdict == "cause"]


def throttled(host: str = "a1") -> Evidence:
    found = healthy(host=host)
    for name, by in (("cgroup/cpu_stat/nr_periods", 100), ("cgroup/cpu_stat/nr_throttled", 40)):
        found = grow(found, f"instances/ranker/{name}", by)
    return grow(found, "instances/ranker/process/wait_us", 8e6)


def ids(document: dict[str, Any], verdict: str = "cause") -> list[str]:
    return [each["id"] for each in document["findings"] if each["verdict"] == verdict]


def fault(id_: str, judged: Judged, layer: Any = "resources") -> Fault:
    """Return a fault that says one thing of every host."""
    return Fault(id_, id_, layer, "", Remedy("", "", "low", False), (), lambda case: [judged])


@pytest.mark.parametrize("injected", [pytest.param(each, id=each.id) for each in CAUSES])
def test_a_single_fault_ranks_first(injected):
    others = [put(each, "host", f"p{number}") for number, each in enumerate(peers(injected.peers))]
    found = ranked([Case(injected.evidence(), others)])
    assert found.findings[0].fault.id == injected.id


def test_a_cause_takes_what_it_explains_along():
    queue = Judged("cause", 1.0, (), "", "ranker", impact=0.9)
    quota = Judged("cause", 0.9, (), "", "ranker", share=0.3)
    found = ranked([Case(healthy())], [fault("batching.queue_full", queue), fault("cpu.throttled", quota)])
    assert [(each.fault.id, each.verdict, each.explained_by) for each in found.findings] == [
        ("cpu.throttled", "cause", ""),
        ("batching.queue_full", "contributor", "cpu.throttled"),
    ]


def test_a_cause_explains_nothing_of_another_instance():
    queue = Judged("cause", 1.0, (), "", "spelling", impact=0.9)
    quota = Judged("cause", 0.9, (), "", "ranker", share=0.3)
    found = ranked([Case(healthy())], [fault("batching.queue_full", queue), fault("cpu.throttled", quota)])
    assert [each.explained_by for each in found.findings] == ["", ""]


def test_an_outage_stands_above_any_share_of_latency():
    slow, down = Judged("cause", 1.0, (), "", share=0.9), Judged("cause", 0.6, (), "", impact=0.9)
    found = ranked([Case(healthy())], [fault("cpu.slow", slow), fault("gpu.down", down)])
    assert [each.fault.id for each in found.findings] == ["gpu.down", "cpu.slow"]


def test_of_equal_causes_the_machine_comes_first():
    same = Judged("cause", 0.9, (), "", share=0.3)
    layers = ("configuration", "model", "resources")
    found = ranked([Case(healthy())], [fault(f"x.{layer}", same, layer) for layer in layers])
    assert [each.fault.layer for each in found.findings] == ["resources", "model", "configuration"]


def test_a_finding_of_several_hosts_is_told_once_with_all_of_them():
    document = diagnosed({"a1": throttled(), "b1": throttled("b1")})
    assert [(each["id"], each["hosts"]) for each in document["findings"]] == [("cpu.throttled", ["a1", "b1"])]


def test_a_fault_of_several_gpus_of_a_host_names_each_of_them():
    found = healthy()
    for gpu in found["gpus"]:
        gpu["remap_failed"] = True
        gpu["processes"] = []
    for instance in found["plan"]["instances"]:
        instance["gpus"] = []
    (told,) = [each for each in diagnosed({"a1": found})["findings"] if each["id"] == "gpu.ecc"]
    seen = " ".join(each["value"] for each in told["evidence"])
    assert [f"GPU {index}: " in seen for index in (0, 1)] == [True, True]


def test_the_remedy_of_several_hosts_is_for_all_of_them():
    (told,) = diagnosed({"a1": throttled(), "b1": throttled("b1")})["findings"]
    assert told["remedy"]["command"].endswith("ansible-playbook playbooks/site.yml --limit a1,b1")


def test_a_rule_that_cannot_digest_its_evidence_is_unknown():
    def broken(case: Case) -> list[Judged]:
        raise KeyError("nothing there")

    found = ranked([Case(healthy())], [Fault("x.y", "", "model", "", Remedy("", "", "low", False), (), broken)])
    assert [each.judged.test for each in found.unknown] == ["its evidence has an unexpected form (KeyError)"]


def test_the_relation_of_causes_names_faults_of_the_catalogue():
    known = {each.id for each in faults()}
    assert {*EXPLAINS, *(each for row in EXPLAINS.values() for each in row)} <= known


def test_ids_are_unique():
    every = [each.id for each in faults()]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("seed", range(20))
def test_healthy_hosts_give_no_finding(seed):
    chance = random.Random(seed)
    document = diagnosed(
        {"a1": varied(chance), "b1": varied(chance, "b1"), "b2": varied(chance, "b2"), "g1": gateway()}
    )
    assert [(each["id"], each["verdict"]) for each in document["findings"]] == []
    assert document["exit"] == 0


def varied(chance: random.Random, host: str = "a1") -> Evidence:
    """Return a healthy host of another kind and with another load."""
    found = healthy(with_gpus=chance.random() < 0.6, cgroup=chance.choice((1, 2)), host=host)
    for name in ("ranker", "spelling"):
        load = chance.uniform(0.2, 1.3)
        rates = {"grpc_rps": round(300 * load), "rest_rps": round(30 * load) if name == "ranker" else 0}
        found = traffic(found, name, **rates)
        found = grow(found, f"instances/{name}/process/wait_us", chance.uniform(0, 9e5))
        found = put(found, f"samples/1/instances/{name}/process/fds", chance.randint(40, 4000))
    found = put(found, "facts/resolve_ms", chance.uniform(0.2, 60))
    found = put(found, "facts/clock/offset_ms", chance.uniform(-8, 8))
    found = grow(found, "net/Tcp.RetransSegs", chance.randint(0, 15))
    return put(found, "facts/disks/0/free_mb", chance.randint(100_000, 800_000))


@pytest.mark.parametrize(
    "evidence",
    [{"a1": healthy()}, {"a1": throttled(), "g1": gateway(), "b1": healthy(host="b1")}, {"a1": {}}],
    ids=["healthy", "throttled", "empty"],
)
def test_the_document_follows_its_schema(evidence):
    document = diagnosed(evidence, {"b9": "it does not answer"})
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)) == []


@pytest.mark.parametrize(
    ("evidence", "code"),
    [({"a1": healthy()}, 0), ({"a1": throttled()}, 1), ({"a1": {}}, 2), ({}, 2)],
    ids=["nothing", "findings", "no samples", "no hosts"],
)
def test_it_ends_with_a_code(evidence, code):
    assert diagnosed(evidence)["exit"] == code


def named(*names: str, **changes: Any) -> Evidence:
    """Return evidence of a diagnosis of some instances, ranker and spelling sharing the first GPU."""
    found = healthy(**changes)
    found["collector"] = {**found["collector"], "instances": list(names), "servers": [4100, 4200]}
    found["plan"]["instances"][1]["gpus"] = found["plan"]["instances"][0]["gpus"]
    found["gpus"][0]["processes"] = [{"pid": pid, "memory_mb": 4_000} for pid in (4100, 4200)]
    found["instances"] = {name: found["instances"][name] for name in names}
    for sample in found["samples"]:
        sample["instances"] = {name: sample["instances"][name] for name in names}
    return found


def test_a_diagnosis_of_some_instances_is_silent_on_the_others_and_calls_none_of_them_a_stranger():
    document = diagnosed({"a1": named("ranker"), "g1": gateway()})
    assert document["findings"] == []
    assert {each["instance"] for each in (*document["cleared"], *document["not_checked"])} <= {"ranker", None}
    assert {each["why"] for each in document["not_checked"] if each["id"] == "gpu.memory_taken"} == {
        "other instances of GPU 0 were not looked at"
    }


def test_the_gateway_stays_in_a_diagnosis_of_some_instances():
    document = diagnosed({"a1": named("ranker"), "g1": put(gateway(), "gateway/stats/1/info/Idle_pct", 3)})
    assert ids(document) == ["gateway.saturated"]


def test_instances_that_no_host_has_are_no_diagnosis_however_well_the_gateway_is():
    beside = put(gateway(), "collector/instances", ["rankr"])
    document = diagnosed({"g1": beside}, {"a1": "instance: rankr is not in the plan of this host"})
    assert document["exit"] == 2
    assert "The diagnosis failed: no host gave two samples of what was asked for." in terminal(document)


def test_what_could_not_be_read_is_listed_and_never_ruled_out():
    document = diagnosed({"a1": put(healthy(), "facts/disks", None)})
    shown = terminal(document)
    assert "- disk.full: the free space of file systems could not be read (a1)" in shown
    assert "disk.full" not in shown[shown.index("RULED OUT") : shown.index("NOT CHECKED")]


def test_the_budget_stands_before_the_causes_and_a_cause_fits_on_a_screen():
    shown = terminal(diagnosed({"a1": throttled()}))
    assert shown.startswith(
        "1 cause found on 1 host; the most likely: A CPU quota stops the server (a1, instance ranker)."
    )
    assert shown.index("WHERE THE TIME GOES") < shown.index("1. CAUSE")
    assert len(shown[shown.index("1. CAUSE") : shown.index("RULED OUT")].splitlines()) <= 24
    assert "systemctl cat tfserving@ranker.service; ansible-playbook playbooks/site.yml --limit a1" in shown


def test_a_host_without_evidence_is_named():
    assert "Without b9: it does not answer" in terminal(diagnosed({"a1": healthy()}, {"b9": "it does not answer"}))


def test_text_of_hosts_is_harmless_in_terminal_and_page():
    hostile = "<script>alert(1)</script>\x1b[31m CUDA_ERROR_OUT_OF_MEMORY"
    document = diagnosed({"a1": put(healthy(), "instances/ranker/log", [hostile])})
    assert "gpu.memory_taken" in ids(document)
    assert "\x1b" not in terminal(document)
    assert "<script>" not in page(document)
    assert "&lt;script&gt;" in page(document)


def test_the_report_is_written_beside_the_evidence(tmp_path):
    report = publish.published(str(tmp_path), {"a1": throttled()}, {}, {}, {})
    assert [path.rsplit("/", 1)[1] for path in report.files] == ["report.diagnosis.json", "report.diagnosis.html"]
    assert json.loads((tmp_path / "report.diagnosis.json").read_text(encoding="utf-8")) == report.document


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(WishError) as refusal:
        publish.published(str(tmp_path / "none"), {"a1": healthy()}, {}, {}, {})
    assert str(refusal.value).endswith("cannot be written (No such file or directory); give another folder")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("samples/0/at", "x"),
        ("samples/1/at", [1]),
        ("samples/1/instances/spelling/process", float("nan")),
        ("instances/ranker/models", 10**30),
        ("gpus/1/processes/0/pid", [1]),
        ("facts", "x"),
    ],
)
def test_evidence_of_an_odd_form_costs_only_what_hangs_on_it(path, value):
    document = diagnosed({"a1": put(healthy(), path, value), "b1": throttled("b1")})
    assert "cpu.throttled" in ids(document)


def test_a_broken_gateway_costs_the_budgets_which_is_said():
    broken = put(gateway(), "gateway/stats", float("nan"))
    document = diagnosed({"a1": throttled(), "g1": broken})
    assert ids(document) == ["cpu.throttled"]
    assert {"where its time goes could not be read"} <= {each["why"] for each in document["not_checked"]}
