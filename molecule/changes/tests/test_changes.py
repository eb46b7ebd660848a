# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a change of the inventory does to a host that serves, from the smallest to the largest."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest

LAB = Path(os.environ["FLEET_CACHE"]) / "lab/www/models"
MODEL = {
    "name": "digits",
    "version": 1,
    "source": {"type": "path", "uri": str(LAB / "digits-{version}.tar.gz")},
    "serve": {"versions": [1], "labels": {"stable": 1}},
    "keep": 1,
}
INSTANCES = [{"name": "main", "models": ["digits"]}, {"name": "second", "models": ["digits"]}]


def wishes(model: dict | None = None, instances: list | None = None, **others) -> dict:
    return {"tfserving_models": [{**MODEL, **(model or {})}], "tfserving_instances": instances or INSTANCES, **others}


def answers(instance, known, where: str = "") -> list[int]:
    sample = known("digits")["request"]
    return [row["class_id"] for row in instance.predict("digits", sample, where)["predictions"]]


def test_nothing_changed_nothing_restarts(site, main, second):
    pids = main.pid, second.pid
    run = site(**wishes())
    assert run.status == 0, run.output
    assert not run.changed, run.output
    assert (main.pid, second.pid) == pids


def test_check_mode_says_what_would_restart_and_restarts_nothing(site, main, second):
    pids = main.pid, second.pid
    instances = copy.deepcopy(INSTANCES)
    instances[1]["flags"] = {"rest_api_timeout_in_ms": 9000}
    run = site("--check", "--diff", **wishes(instances=instances))
    assert run.status == 0, run.output
    assert "+    --rest_api_timeout_in_ms=9000" in run.output
    assert (main.pid, second.pid) == pids


def test_a_version_and_the_label_that_moves_onto_it_come_without_a_restart(site, host, main, second, known):
    pids = main.pid, second.pid
    run = site(**wishes({"version": 2, "serve": {"versions": [2], "labels": {"stable": 2}}}))
    assert run.status == 0, run.output
    assert (main.pid, second.pid) == pids
    assert main.states("digits") == {"1": "END", "2": "AVAILABLE"}
    expected = [row["class_id"] for row in known("digits")["answers"]["2"]["predictions"]]
    assert answers(main, known, "/labels/stable") == answers(second, known, "/labels/stable") == expected


def test_a_version_that_is_served_no_longer_goes_with_the_same_run(site, host):
    assert host.check_output("ls /var/lib/tfserving/models/digits") == "2"
    run = site(**wishes({"version": 2, "serve": {"versions": [2], "labels": {"stable": 2}}}))
    assert not run.changed, run.output


def test_a_changed_flag_restarts_its_own_instance_alone(site, main, second):
    pids = main.pid, second.pid
    instances = copy.deepcopy(INSTANCES)
    instances[1]["flags"] = {"rest_api_timeout_in_ms": 9000}
    run = site(**wishes({"version": 2, "serve": {"latest": 1}}, instances))
    assert run.status == 0, run.output
    assert main.pid == pids[0]
    assert second.pid != pids[1]
    assert "--rest_api_timeout_in_ms=9000" in second.command_line()


def test_an_inventory_that_goes_back_serves_the_older_version_without_a_restart(site, main, second, known):
    pids = main.pid, second.pid
    instances = copy.deepcopy(INSTANCES)
    instances[1]["flags"] = {"rest_api_timeout_in_ms": 9000}
    run = site(**wishes({"version": 1, "serve": None}, instances))
    assert run.status == 0, run.output
    assert (main.pid, second.pid) == pids
    assert main.states("digits")["1"] == second.states("digits")["1"] == "AVAILABLE"
    assert main.states("digits")["2"] == "END"
    expected = [row["class_id"] for row in known("digits")["answers"]["1"]["predictions"]]
    assert answers(main, known) == answers(second, known) == expected


@pytest.mark.parametrize("task", ["Start, restart and stop", pytest.param("Record the plan", marks=pytest.mark.long)])
def test_a_run_that_was_cut_off_is_made_good_by_the_next(site, main, second, known, task):
    timeout = 9000 + len(task)
    instances = copy.deepcopy(INSTANCES)
    instances[0]["flags"] = instances[1]["flags"] = {"rest_api_timeout_in_ms": timeout}
    wanted = wishes({"version": 2, "serve": {"latest": 1}}, instances)
    assert site(kill_at=task, **wanted).status != 0
    run = site(**wanted)
    assert run.status == 0, run.output
    for instance in (main, second):
        assert f"--rest_api_timeout_in_ms={timeout}" in instance.command_line()
        assert answers(instance, known)
    assert not site(**wanted).changed


def test_two_instances_swap_their_ports(site, host, serving):
    ports = {"grpc": 8500, "rest": 8501}, {"grpc": 8510, "rest": 8511}
    swapped = [{**INSTANCES[0], "ports": ports[1]}, {**INSTANCES[1], "ports": ports[0]}]
    run = site(**wishes({"version": 2, "serve": {"latest": 1}}, swapped))
    assert run.status == 0, run.output
    assert serving("main", 8511).states("digits")["2"] == serving("second", 8501).states("digits")["2"] == "AVAILABLE"
    for name, port in (("main", 8511), ("second", 8501)):
        assert f"--rest_api_port={port}" in serving(name, port).command_line()
    # The next test's release comes with the ports that they had before.


def test_another_release_of_the_server_restarts_all(site, host, main, second):
    pids = {main.pid, second.pid}
    run = site(**wishes({"version": 2, "serve": {"latest": 1}}, tfserving_version="2.20.0"))
    assert run.status == 0, run.output
    assert host.package("tensorflow-model-server").version.startswith("2.20.0")
    assert not pids & {main.pid, second.pid}


def test_an_instance_that_left_the_inventory_is_stopped_and_its_files_go(site, host, main, second):
    run = site(**wishes({"version": 2, "serve": {"latest": 1}}, INSTANCES[:1], tfserving_version="2.20.0"))
    assert run.status == 0, run.output
    assert main.show("ActiveState") == "active"
    assert second.show("ActiveState") == "inactive"
    assert host.run("systemctl is-enabled tfserving@second.service").stdout.strip() != "enabled"
    assert not host.file("/etc/tfserving/second").exists
    assert not host.file("/etc/systemd/system/tfserving@second.service.d").exists


def test_a_model_that_left_the_inventory_stays_on_disk(site, host):
    other = {**MODEL, "name": "other", "version": 1, "serve": {"latest": 1}}
    run = site(tfserving_models=[other], tfserving_instances=[{"name": "main", "models": ["other"]}])
    assert run.status == 0, run.output
    assert host.file("/var/lib/tfserving/models/digits/2/saved_model.pb").exists
