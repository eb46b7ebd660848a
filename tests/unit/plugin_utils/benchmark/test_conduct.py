# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark from the first look to its files, on simulated load hosts."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils import caller
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import conduct, publish
from benchmark_models import metadata, tensors
from simulated_team import Rivals, SimulatedTeam


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Return what conducts a benchmark with a team, and the lines that it told."""

    def run(team, rival=None, **given):
        monkeypatch.setattr(conduct.team, "Team", lambda crew, place, names: team)
        asked = simulated_team.asked(**{"output": str(tmp_path / "run"), **given})
        told = []
        # As Ansible hands it on: tuples become lists.
        options = json.loads(json.dumps(dataclasses.asdict(asked)))
        found = conduct.conduct(options, simulated_team.target(), None, None, team.names, told.append, rival)
        return found, told

    return run


def document(tmp_path):
    return json.loads((tmp_path / "run.json").read_text())


def test_a_benchmark_leaves_its_document(bench, tmp_path):
    found, told = bench(SimulatedTeam(names=["load-1", "load-2"]), rate=20, duration="60s")
    assert found == {"file": str(tmp_path / "run.json")}
    kept = document(tmp_path)
    assert (kept["instance"], kept["host"], kept["load_hosts"]) == ("ranker", "gpu-a", ["load-1", "load-2"])
    assert kept["calibration"] == {"schema": 1, "protocols": simulated_team.PROTOCOLS}
    assert kept["conditions"]["collection_version"] == caller.version() != ""
    assert kept["requests"]["source"] == "generated"
    assert publish.earlier(str(tmp_path / "run.json")) == kept
    assert told[0].startswith("  16 requests made from the model's signature, 1 item and ")
    assert told[0].endswith(" kB on average from load-1, load-2")


def test_shards_travel_as_a_list(bench, tmp_path):
    bench(SimulatedTeam(slots=4), shards="1,2", items=64)
    assert [row["shards"] for row in document(tmp_path)["shards"]] == [1, 2]


def refusal(bench, team, **given):
    with pytest.raises(WishError) as refused:
        bench(team, **given)
    assert team.specs == []
    return str(refused.value)


def test_a_load_host_without_a_way_to_the_port_gets_no_load(bench):
    team = SimulatedTeam(names=["load-1", "load-2"])
    ask = team.ask

    def closed(subject, question):
        one, other = ask(subject, question)
        return [one, {**other, "ports": {**other["ports"], "grpc": {"open": False, "why": "timeout"}}}]

    team.ask = closed
    assert refusal(bench, team) == (
        "tfserving_allow_from: 10.0.0.5 does not answer load host load-2 on its grpc port; add 10.0.0.9 and run"
        " site.yml"
    )


def test_a_model_that_the_server_does_not_describe_gets_no_load(bench):
    team = SimulatedTeam()
    ask = team.ask
    team.ask = lambda *question: [{**each, "metadata": {"ranker": "HTTP 404"}} for each in ask(*question)]
    assert refusal(bench, team) == (
        "model: the server does not describe ranker (HTTP 404); look at its state with status.yml"
    )


def test_an_earlier_run_that_cannot_be_read_is_told_before_any_load(bench, tmp_path):
    assert refusal(bench, SimulatedTeam(), against=str(tmp_path / "no.json")) == (
        f"against: {tmp_path}/no.json cannot be read (No such file or directory); give the JSON file of a run"
    )


def test_an_earlier_run_that_is_too_short_is_told_before_any_load(bench, tmp_path):
    bench(SimulatedTeam(), rate=20, duration="60s")
    said = refusal(bench, SimulatedTeam(), against=str(tmp_path / "run.json"), output=str(tmp_path / "other"))
    assert said.startswith("against: has 60 s to compare with, and a comparison takes 120 s of each side; ")


def test_two_instances_leave_one_document(bench, tmp_path):
    bench(Rivals(SimulatedTeam(), SimulatedTeam()), simulated_team.other(), against="ranker-next", rate=20)
    kept = publish.earlier(str(tmp_path / "run.json"))
    assert (kept["kind"], kept["instance"], kept["other"]["instance"]) == ("turns", "ranker", "ranker-next")
    assert kept["other"]["conditions"]["collection_version"] == caller.version()
    assert len(kept["stages"]) == 8
    published = publish.publish(str(tmp_path / "run"), [], None, False)
    assert published.verdict == "valid"
    assert published.text.startswith("ranker ")


def test_another_instance_that_is_not_reached_gets_no_load(bench):
    team = Rivals(SimulatedTeam(), SimulatedTeam())
    ask = team.servers[8600].ask

    def closed(subject, question):
        return [
            {**each, "ports": {**each["ports"], "rest": {"open": False, "why": "refused"}}}
            for each in ask(subject, question)
        ]

    team.servers[8600].ask = closed
    assert refusal(bench, team, rival=simulated_team.other(host="10.0.0.6"), against="ranker-next", rate=20) == (
        "tfserving_address: 10.0.0.6 refuses connections of load host load-1 to its rest port; set it to the address"
        " that callers use, or look at status.yml"
    )


def test_another_instance_with_another_signature_gets_no_load(bench):
    described = {"ranker": metadata(tensors(x=("DT_INT64", [-1, 2])), tensors(y=("DT_FLOAT", [-1])))}
    team = Rivals(SimulatedTeam(), SimulatedTeam(), described)
    assert refusal(bench, team, rival=simulated_team.other(), against="ranker-next", rate=20) == (
        "against: ranker-next on gpu-a has the input x of serving_default of ranker as DT_INT64 [-1, 2], not DT_FLOAT"
        " [-1, 2]; name an instance whose model has the same signature"
    )


def test_a_place_without_room_for_results_is_told_before_any_load(bench, tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal(bench, SimulatedTeam(), output=str(tmp_path / "file" / "run")) == (
        f"output: {tmp_path}/file cannot be written to (File exists); choose another place"
    )


def test_the_folder_of_the_results_is_made(bench, tmp_path):
    bench(SimulatedTeam(), rate=20, duration="60s", output=str(tmp_path / "new" / "run"))
    assert (tmp_path / "new" / "run.json").exists()


@pytest.mark.parametrize("rate", [32_001, 100_000])
def test_a_rate_that_no_client_here_can_send_gets_no_load(bench, rate):
    team = SimulatedTeam(names=["load-1", "load-2"])
    said = refusal(bench, team, rate=rate)
    assert said == (
        f"rate: is {rate:,}/s, and 8 CPUs of the load hosts send at most 32,000/s; add hosts to tfserving_load, or use"
        " engine=h2load"
    )


def test_an_interrupted_run_keeps_its_stages(bench, tmp_path, monkeypatch):
    minutes = itertools.count()
    monkeypatch.setattr(conduct, "now", lambda: f"2026-01-01T00:{next(minutes):02}:00Z")
    team = SimulatedTeam(0.005, 0.0, exponential=True)
    run, team.run = team.run, lambda *stage: _until(5, team, run, stage)
    with pytest.raises(KeyboardInterrupt):
        bench(team)
    kept = publish.earlier(str(tmp_path / "run.json"))
    assert len(kept["stages"]) == 4
    # The time is read for both ends of a run without stages, then for each stage.
    assert (kept["began"], kept["ended"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z")
    published = publish.publish(str(tmp_path / "run"), [], None, False)
    assert published.verdict == "invalid"


def _until(stages, team, run, stage):
    if len(team.specs) == stages:
        raise KeyboardInterrupt
    return run(*stage)
