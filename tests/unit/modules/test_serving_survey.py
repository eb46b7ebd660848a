# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The two modules of adoption as a whole, on a recorded host."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import collect, processes, takeover
from ansible_collections.tfserving.fleet.plugins.modules import serving_survey, serving_takeover
from running import run_module
from surveyed_host import SERVER, Host, Programs, recorded


@pytest.fixture
def host(tmp_path, monkeypatch):
    made = Host(tmp_path / "host")
    made.process(10, [SERVER, "--port=9500"], group="/system.slice/old-serving.service")
    programs = Programs({"systemctl show": recorded("systemctl_show.txt")})
    known = collect.Means(
        made.tree, programs, lambda _arguments: None, lambda *_arguments: {"serves": [], "labels": {}}
    )
    monkeypatch.setattr(collect, "Means", lambda: known)
    monkeypatch.setattr(takeover, "Means", lambda: _TakeoverMeans(made.tree, programs, programs))
    return made


_TakeoverMeans = takeover.Means


@pytest.mark.parametrize("check", [False, True])
def test_the_survey_reads_and_changes_nothing(host, check):
    result = run_module(serving_survey, host="host-a", _ansible_check_mode=check)
    assert (result["changed"], result["survey"]["host"]) == (False, "host-a")
    assert [server["origin"]["name"] for server in result["survey"]["servers"]] == ["old-serving.service"]


def test_the_survey_fails_with_a_sentence(host):
    assert run_module(serving_survey, seconds=0)["msg"] == "seconds: 0 is out of bounds; write 1 to 3600"


def test_the_take_over_says_what_it_would_do(host, tmp_path):
    known = {"pid": 10, "argv_sha256": processes.digest([SERVER, "--port=9500"])}
    wish = {"kind": "systemd", "name": "old-serving.service", "record_folder": str(tmp_path / "records")}
    result = run_module(serving_takeover, state="stopped", _ansible_check_mode=True, **wish, **known)
    assert (result["changed"], result["after"]["running"]) == (True, False)
    assert not (tmp_path / "records").exists()


def test_the_take_over_fails_with_a_sentence(host, tmp_path):
    wish = {"kind": "systemd", "name": "old-serving.service", "record_folder": str(tmp_path / "records")}
    result = run_module(serving_takeover, state="stopped", pid=10, argv_sha256="0" * 64, **wish)
    assert (
        result["msg"] == "pid: the process 10 is not, or no longer, the server that was surveyed; survey the host again"
    )
