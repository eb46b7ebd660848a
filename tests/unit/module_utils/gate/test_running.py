# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The ports of a process are those that it was started with."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import running
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Instance
from gate_cases import RANKER


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "42").mkdir()

    def command(*arguments):
        (tmp_path / "42/cmdline").write_bytes(b"".join(each.encode() + b"\0" for each in arguments))
        return str(tmp_path)

    return command


def systemctl(pid="42", code=0):
    return lambda _arguments: (code, f"{pid}\n", "")


def test_a_running_server_has_the_ports_of_its_command_line(proc):
    place = proc("server", "--port=7500", "--rest_api_port=7501", "--model_config_file=/x")
    assert running.instance(systemctl(), "ranker", RANKER, place) == Instance("ranker", 7501, 7500, RANKER.models)


def test_an_instance_that_left_the_plan_still_has_its_ports(proc):
    place = proc("server", "--port=7500", "--rest_api_port=7501")
    assert running.instance(systemctl(), "gone", None, place) == Instance("gone", 7501, 7500, {})


@pytest.mark.parametrize("pid", ["0", "", "99", "x", "-1"])
def test_without_a_process_it_has_the_ports_of_the_plan(proc, pid):
    assert running.instance(systemctl(pid), "ranker", RANKER, proc("x")) is RANKER
    assert running.instance(systemctl(pid), "gone", None, proc("x")) is None


def test_a_command_line_without_ports_or_with_strange_ones_says_nothing(proc):
    for arguments in (["server"], ["server", "--port=0", "--rest_api_port=99999"], ["server", "--port=1"]):
        assert running.instance(systemctl(), "ranker", RANKER, proc(*arguments)) is RANKER


def test_a_service_manager_that_fails_is_no_process(proc):
    assert (
        running.instance(systemctl(code=1), "ranker", RANKER, proc("server", "--port=1", "--rest_api_port=2")) is RANKER
    )
