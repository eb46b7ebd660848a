# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The action golden_answers, delegated to a gateway, finds the servers in the plans of the hosts."""

from __future__ import annotations

import json
from typing import Any

import gateway_cases
import pytest
from playbook_place import Place

# Nobody can be called there, and the kernel says so at once.
NOWHERE = "255.255.255.255"


def plan(*versions: int, golden: Any = None) -> dict[str, Any]:
    served = {"name": "ranker", "versions": list(versions), "golden": golden}
    return {"instances": [gateway_cases.instance(versions=versions)], "models": [served]}


@pytest.fixture
def place(tmp_path):
    golden = {"file": "golden.jsonl", "requests": [{"name": "two", "inputs": {"x": [1]}, "expect": {"y": [2]}}]}
    place = Place(tmp_path)
    gpus = {
        "gpu-1": {"tfserving_plan": plan(7, 8, golden=golden), "tfserving_address": NOWHERE},
        "gpu-2": {"tfserving_plan": plan(7, 8), "tfserving_address": "10.0.0.2"},
        "gpu-3": {"tfserving_plan": plan(7, 8, golden=golden), "tfserving_address": "127.0.0.1"},
        "gpu-4": {},
    }
    place.inventory({"tfserving": gpus, "tfserving_gateways": {"edge-1": {}}})
    return place


def answers(place: Place, host: str) -> Any:
    out = place.folder / "answers.json"
    wanted = {"model": "ranker", "old": 7, "new": 8, "controls": ["gpu-2", "gpu-4"]}
    place.playbook(
        {"tfserving.fleet.golden_answers": wanted, "delegate_to": "edge-1", "register": "answers"},
        {"ansible.builtin.copy": {"content": "{{ answers | to_json }}", "dest": str(out)}},
        hosts=host,
    )
    code, output = place.run("play.yml")
    return json.loads(out.read_text()) if code == 0 else output


def test_a_server_that_a_gateway_cannot_reach_is_named_and_not_blamed(place):
    found = answers(place, "gpu-1")
    assert found["wrong"] == ""
    place_of = f"ranker 8 could not be asked: gpu-1.ranker: {NOWHERE} port 8501 does not answer ("
    assert found["unproven"].startswith(place_of)
    assert found["text"].startswith("ranker 8 on gpu-1.ranker, 0 golden requests over REST")


def test_without_golden_requests_nothing_is_asked(place):
    found = answers(place, "gpu-2")
    assert (found["servers"], found["wrong"], found["unproven"]) == ([], "", "")


def test_an_address_that_no_gateway_reaches_is_refused_in_a_sentence(place):
    output = answers(place, "gpu-3")
    assert "tfserving_address: is 127.0.0.1 for the host gpu-3, where its gate cannot refuse calls; set it" in output
    assert "Traceback" not in output
