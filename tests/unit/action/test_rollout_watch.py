# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The action rollout_watch hands on what Ansible knows: who takes part, who conducts, and how it ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action import rollout_watch
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here
from simulated_rollout import wish
from simulated_watch import begun

ARGUMENTS = {
    "state": begun().to_json(),
    "wish": wish(),
    "gateways": ["edge-1", "edge-2"],
    "arms": {"canary": ["gpu-a"], "control": ["gpu-b", "gpu-c"]},
    "last_step": 4,
    "plan": {"instances": [{"name": "ranker", "models": ["ranker"], "ports": {"rest": 8501}}], "models": []},
}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Let the crew meet in a folder of the test."""
    monkeypatch.setattr(here, "C", SimpleNamespace(DEFAULT_LOCAL_TMP=str(tmp_path)))
    monkeypatch.setattr(here.context, "CLIARGS", {"forks": 4})
    return tmp_path / "crew-1234"


def performed(me: str, call: Any = None, **changes: Any) -> dict[str, Any]:
    found = object.__new__(rollout_watch.ActionModule)
    found._task = SimpleNamespace(args={}, _uuid="1234")
    found.options = lambda: {**ARGUMENTS, **changes}
    found.call = call
    return found.perform({"inventory_hostname": me})


def test_the_first_gateway_conducts_and_returns_how_it_ended(folder, monkeypatch):
    held = begun(held="errors: canary 0/600, control 0/600: pass; it waits for a person")
    found = performed("edge-1", state=held.to_json())
    assert (found["ended"], found["sentence"], found["missed"], found["state"]) == (
        "held",
        held.held,
        [],
        held.to_json(),
    )
    # The others have been dismissed.
    assert len(list(folder.glob("*.order"))) == 3


def test_another_host_carries_out_orders_until_it_is_dismissed(folder):
    folder.mkdir()
    (folder / "2.1.order").write_text('{"do": "read", "slow_ms": 85.0}')
    (folder / "2.2.order").write_text('"end"')
    asked = []

    def call(module, arguments, task_vars):
        asked.append((module, arguments))
        return {"servers": {"ranker": {"process": "a", "calls": 0}}}

    assert performed("gpu-a", call) == {}
    assert asked == [("tfserving.fleet.rollout_servers", {"instances": {"ranker": 8501}})]
    assert (folder / "2.1.answer").read_text() == '{"servers": {"ranker": {"process": "a", "calls": 0}}}'


def test_hosts_beyond_those_that_run_together_do_nothing(folder):
    assert performed("gpu-c") == {}
    assert not folder.exists()


@pytest.mark.parametrize("state", [{}, {"schema": 2}, {**ARGUMENTS["state"], "stage": "elsewhere"}])
def test_a_state_that_is_none_is_refused(folder, state):
    with pytest.raises(WishError, match=r"^state: is none of a roll-out \(.*\); give what rollout_course returned$"):
        performed("edge-1", state=state)


def test_a_gateway_that_cannot_be_reached_is_one_sentence(folder, monkeypatch):
    def call(_module, _arguments, _task_vars):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(rollout_watch.team.Team, "sleep", lambda _team, _seconds: None)
    with pytest.raises(WishError) as refused:
        performed("edge-1", call, gateways=["edge-1"], arms={"canary": ["edge-1"], "control": []})
    assert str(refused.value) == (
        "rollout: most hosts cannot record the roll-out of ranker, so no share is raised; bring them up and run it"
        " again"
    )
