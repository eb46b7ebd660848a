# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module that keeps where roll-outs stand: the newest state wins, whoever writes it when."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import record
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.modules import rollout_state
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from running import run_module, run_module_alone


def state(generation=1, revision=1, stage="share", **changes):
    begun = states.begin(None, "ranker", 7, 8, [1, 100], 1000.0, False).to_json()
    return {**begun, "generation": generation, "revision": revision, "stage": stage, **changes}


@pytest.fixture
def run(tmp_path):
    """Run the module in this process, with records in a folder of its own."""

    def call(check=False, **arguments):
        return run_module(rollout_state, path=str(tmp_path / "rollout"), _ansible_check_mode=check, **arguments)

    return call


def test_a_host_without_a_record_knows_of_no_roll_out(run):
    answer = run()
    assert (answer["changed"], answer["states"]) == (False, {})
    assert run(models=["ranker"])["states"] == {}


def test_a_state_is_kept_durably_and_once(run, tmp_path):
    # As the host runs it; the next ones find what another process has written.
    first = run_module_alone("rollout_state", tmp_path, path=str(tmp_path / "rollout"), state=state())
    assert (first["changed"], first["states"]) == (True, {"ranker": state()})
    assert run(state=state())["changed"] is False
    assert run()["states"] == run(models=["ranker"])["states"] == {"ranker": state()}
    mode = os.stat(tmp_path / "rollout/ranker.json").st_mode
    assert stat.S_IMODE(mode) == 0o644


@pytest.mark.parametrize(
    ("present", "given", "wins"),
    [
        (state(2, 1), state(1, 9), False),
        (state(2, 3), state(2, 2), False),
        (state(2, 3), state(2, 3, held="other words"), False),
        (state(2, 3), state(2, 4), True),
        (state(2, 9), state(3, 1), True),
        # Two that took over at the same moment.
        (state(2, 1, "reverting"), state(2, 9), False),
        (state(2, 9), state(2, 1, "reverting"), True),
    ],
)
def test_a_newer_state_is_never_overwritten(run, present, given, wins):
    run(state=present)
    answer = run(state=given)
    assert answer["changed"] is wins
    assert answer["states"]["ranker"] == run()["states"]["ranker"] == (given if wins else present)


def test_a_newer_state_counts_that_does_not_name_its_model(run, tmp_path):
    run(state=state())
    nameless = {key: value for key, value in state(3).items() if key != "model"}
    (tmp_path / "rollout/ranker.json").write_text(json.dumps(nameless))
    assert run(state=state(2))["states"] == {"ranker": nameless}


def test_check_mode_says_what_would_be_and_writes_nothing(run, tmp_path):
    answer = run(state=state(), check=True)
    assert (answer["changed"], answer["states"]) == (True, {"ranker": state()})
    assert not (tmp_path / "rollout").exists()
    run(state=state(2))
    assert run(state=state(), check=True)["changed"] is False


def test_files_of_others_are_no_states(run, tmp_path):
    run(state=state())
    for name in ("ranker.calls.json", ".ranker.json.new", "notes.txt", "a b.json"):
        (tmp_path / "rollout" / name).write_text("{}")
    assert list(run()["states"]) == ["ranker"]


def test_writers_take_turns(tmp_path):
    folder = str(tmp_path / "rollout")
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda n: rollout_record.write(state(1, n), folder), range(1, 41)))
    assert rollout_record.states([], folder)["ranker"]["revision"] == 40


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"model": "ranker"}, "state: is not the state of a roll-out; give it as rollout_course returned it"),
        ({**state(), "schema": 2}, "state: is not the state of a roll-out; give it as rollout_course returned it"),
        ({**state(), "generation": 0}, "state: is not the state of a roll-out; give it as rollout_course returned it"),
        ({**state(), "model": "../etc"}, "rollouts: '../etc' cannot be a model"),
        ({}, "rollouts: '' cannot be a model"),
    ],
)
def test_what_is_no_state_is_refused(run, wrong, sentence):
    assert sentence in run(state=wrong)["msg"]


def test_a_damaged_record_is_never_overwritten(run, tmp_path):
    run(state=state())
    file = tmp_path / "rollout/ranker.json"
    for content in ("{", json.dumps({**state(), "old": 0}), "x" * (record.MOST_BYTES + 1)):
        file.write_text(content)
        assert "ranker.json: " in run(state=state(9))["msg"]
        assert file.read_text() == content


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    answer = run_module_alone("rollout_state", tmp_path, path=str(tmp_path / "file/rollout"), state=state())
    assert answer["failed"] is True
    assert "cannot be" in answer["msg"]
    assert "\n" not in answer["msg"]
