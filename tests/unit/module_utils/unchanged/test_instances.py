# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Instances that serve are left alone; whatever a whole run would do to one is found, and nothing is done."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.traffic import Traffic
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged.instances import Onlooker
from conducted_host import conductor
from ports import free_port


class Gates(Traffic):
    """Gates that are as a test says."""

    def __init__(self, due="", **gates):
        self._due, self._gates = due, gates

    def due(self):
        return self._due

    def gates(self):
        return self._gates


@pytest.fixture
def serving(host):
    instances = [host.lay_down(name, f"{name}-1", free_port()) for name in ("a", "b")]
    conductor(host, instances=instances).conduct()
    host.deeds.clear()
    return instances


def look(host, instances, traffic=None):
    wishes = conductor(host, instances=instances).wishes
    finding, status = Onlooker(wishes, host.run, True, traffic).look()
    assert host.deeds == []
    return finding, status


def test_instances_that_serve_are_left_alone_and_have_a_status(host, serving):
    finding, status = look(host, serving)
    assert finding.due == ""
    assert [(one["name"], one["pid"], one["problem"]) for one in status] == [(n, host.pid(n), "") for n in ("a", "b")]


def test_a_unit_that_is_off_at_the_next_boot_is_found(host, serving):
    host.enabled.discard("b")
    assert look(host, serving)[0].due == "enabled b"


def test_an_instance_that_has_ended_is_found(host, serving):
    host.stop("a")
    assert "started a" in look(host, serving)[0].due


def test_an_instance_that_runs_with_other_files_is_found(host, serving):
    host.files["a"]["mark"] = "a-2"
    assert look(host, serving)[0].due == "restarted a"


def test_an_instance_that_nobody_asked_for_is_found(host, serving):
    assert look(host, serving[:1])[0].due == "stopped b"


def test_a_model_that_is_not_available_is_found(host, serving):
    host.servers["a"].models["m"].versions[1] = "END"
    assert look(host, serving)[0].due.startswith("instance a: ")


def test_a_server_that_does_not_answer_is_found(host, serving):
    host.servers.pop("a").__exit__()
    assert "instance a: " in look(host, serving)[0].due


@pytest.mark.parametrize("words", ["drained by alice", "unknown: the companion does not answer"])
def test_a_gate_that_is_not_open_is_found(host, serving, words):
    assert look(host, serving, Gates(a=words, b=""))[0].due == f"the gate of a is not open ({words})"


def test_a_companion_that_is_out_of_date_is_found(host, serving):
    assert look(host, serving, Gates("restarted", a="", b=""))[0].due == "the gate's companion is to be restarted"


def test_gates_that_come_or_go_are_another_state(host, serving):
    assert look(host, serving, Gates(a="", b=""))[0].state != look(host, serving)[0].state
