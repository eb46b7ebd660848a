# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The records of roll-outs are read as damaged by anybody, and a damaged one is never taken for none."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.record import MOST_BYTES
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.modules import host_topology
from machines import build
from running import run_module

WHOLE = {
    "schema": 1,
    "generation": 2,
    "revision": 5,
    "old": 7,
    "new": 8,
    "stage": "reverted",
    "reverted": {"8": {"reason": "p99 rose", "at": 1.5}},
}
KNOWN = {"age": [2, 5], "old": 7, "new": 8, "reverted": {"8": "p99 rose"}}


def keep(folder, content, name="ranker"):
    (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_what_a_host_remembers_is_read_and_nothing_else(tmp_path):
    keep(tmp_path, WHOLE)
    keep(tmp_path, {**WHOLE, "reverted": {}}, "digits")
    assert rollout_record.read(["ranker", "digits", "vision"], str(tmp_path)) == {
        "ranker": KNOWN,
        "digits": {**KNOWN, "reverted": {}},
    }
    assert rollout_record.read([], str(tmp_path / "none")) == {}


def without(key):
    return {name: value for name, value in WHOLE.items() if name != key}


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", "[" * 5000, {}),
        *(without(key) for key in ("schema", "generation", "revision", "old", "reverted")),
        {**WHOLE, "schema": "1"},
        {**WHOLE, "generation": True},
        *({**WHOLE, "old": old} for old in (0, -1, True, "7", None, 2**63)),
        *({**WHOLE, "reverted": bad} for bad in (["8"], {"8": "slow"}, {"8": {}}, {"8": {"reason": 1}})),
        *({**WHOLE, "reverted": {key: {"reason": "x"}}} for key in ("08", "", "eight", "²", str(2**63))),
        {**WHOLE, "reverted": {str(number): {"reason": "x"} for number in range(1, 102)}},
    ],
)
def test_a_damaged_record_is_refused(tmp_path, content):
    keep(tmp_path, content)
    with pytest.raises(WishError) as caught:
        rollout_record.read(["ranker"], str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/ranker.json: is damaged; move it away and run again; with it goes what it says of versions that"
        " were reverted"
    )


def test_a_record_of_a_later_release_is_refused(tmp_path):
    keep(tmp_path, {**WHOLE, "schema": 2})
    with pytest.raises(
        WishError, match=r"has schema 2, this release of the collection reads schema 1; run the release"
    ):
        rollout_record.read(["ranker"], str(tmp_path))


def test_a_record_without_end_is_not_read(tmp_path):
    keep(tmp_path, json.dumps({**WHOLE, "padding": "x" * MOST_BYTES}))
    with pytest.raises(WishError, match=rf"ranker.json: cannot be read \(it has more than {MOST_BYTES} bytes\)"):
        rollout_record.read(["ranker"], str(tmp_path))


def test_a_reason_is_one_short_line(tmp_path):
    keep(tmp_path, {**WHOLE, "reverted": {"8": {"reason": "a\x1b[2J\nb" + "x" * 5000}}})
    reason = rollout_record.read(["ranker"], str(tmp_path))["ranker"]["reverted"]["8"]
    assert reason.startswith("a\\x1b[2J\\nbxxx")
    assert len(reason) == rollout_record.LONGEST_REASON


@pytest.mark.parametrize("name", ["../plan", "a/b", "", ".hidden"])
def test_a_name_leads_out_of_no_folder(tmp_path, name):
    with pytest.raises(WishError, match=r"cannot be a model; use letters"):
        rollout_record.read([name], str(tmp_path))


def test_names_are_bounded(tmp_path):
    with pytest.raises(WishError, match=r"rollouts: names 1001 models; give at most 1000"):
        rollout_record.read(["ranker"] * 1001, str(tmp_path))


def test_the_host_is_asked_in_the_call_that_reads_it(tmp_path):
    machine = build(tmp_path / "machine")
    keep(tmp_path, WHOLE)
    asked = {"sysroot": machine, "rollouts": ["ranker", "digits"], "rollout_path": str(tmp_path)}
    assert run_module(host_topology, **asked)["rollouts"] == {"ranker": KNOWN}
    assert "rollouts" not in run_module(host_topology, sysroot=machine)
    keep(tmp_path, "")
    failed = run_module(host_topology, **asked)
    assert failed["failed"]
    assert failed["msg"].startswith(f"{tmp_path}/ranker.json: is damaged; move it away")
