# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The file of the plan for the gates: read whole or refused in a sentence, and read anew when it changes."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import config as configs
from gate_cases import Folder, specific


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_file_is_read(folder):
    folder.write(models={"m": specific(7, 8), "n": {"latest": {"num_versions": 1}}, "o": {"all": {}}})
    found = configs.read(folder.path)
    assert (found.port, found.gateways, found.drain_timeout_s, found.longest_call_s) == (8490, ("edge-1",), 60, 2)
    (instance,) = found.instances.values()
    assert instance.ports == (8500, 8501)
    # The server itself decides which are the latest, and opens its ports only with them.
    assert instance.models == {"m": {7, 8}, "n": frozenset(), "o": frozenset()}


def test_a_missing_file_is_refused(folder):
    with pytest.raises(configs.ConfigError) as refused:
        configs.read(folder.path)
    remedy = "run the playbook site.yml again"
    assert str(refused.value) == f"{folder.path}: cannot be read (No such file or directory); {remedy}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": 2}, {"port": 0}, {"port": "8490"}, {"port": True}, {"drain_timeout_s": -1}, {"longest_call_s": None},
        {"gateways": "edge-1"}, {"instances": []}, {"instances": {"a": {}}},
        {"models": {"m": specific("x")}},
    ],
)  # fmt: skip
def test_other_values_are_refused(folder, wrong):
    folder.write(**wrong)
    with pytest.raises(configs.ConfigError) as refused:
        configs.read(folder.path)
    remedy = "run the playbook site.yml again"
    assert str(refused.value) == f"{folder.path}: does not describe the gates of a host; {remedy}"


def test_half_a_file_is_refused(folder, tmp_path):
    (tmp_path / "gate.json").write_text('{"schema": 1')
    with pytest.raises(configs.ConfigError, match="is no JSON"):
        configs.read(folder.path)


def test_a_changed_file_is_in_force_at_once(folder):
    folder.write()
    watched = configs.Watched(folder.path)
    folder.write(gateways=["edge-2"])
    assert watched.now().gateways == ("edge-2",)
    assert watched.now() is watched.now()


def test_a_file_that_becomes_wrong_or_goes_leaves_the_one_before_in_force(folder, tmp_path):
    folder.write()
    watched = configs.Watched(folder.path)
    (tmp_path / "gate.json").write_text(json.dumps([]))
    assert watched.now().gateways == ("edge-1",)
    assert "does not describe the gates of a host" in watched.problem
    (tmp_path / "gate.json").unlink()
    assert watched.now().gateways == ("edge-1",)
    folder.write()
    watched.now()
    assert watched.problem == ""
