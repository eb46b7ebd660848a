# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the runner refuses before it starts anything, and playbooks that AWX slices, run as AWX runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from playbook_place import HERE, Place
from repository import REPOSITORY
from running import playbook_command, playbook_environment

PROGRAM = REPOSITORY / "bin/tfserving-fleet"
# What `make lint` installs; AWX and AAP run jobs by it.
RUNNER = Path(os.environ.get("FLEET_CACHE", REPOSITORY / ".cache")) / "judges/venv/judges/bin/ansible-runner"
# As AWX 24.6.1 passes them to a job slice of the template "Serve", and to a job of the workflow "Nightly".
META = {"awx_job_id": 12, "awx_job_launch_type": "workflow", "awx_job_template_name": "Serve", "awx_user_name": "ann"}
SLICED = {**META, "awx_workflow_job_id": 11, "awx_workflow_job_name": "Serve"}
NIGHTLY = {**META, "awx_workflow_job_id": 11, "awx_workflow_job_name": "Nightly"}
SENTENCE = (
    "site.yml: must not be sliced, as no slice knows of the restarts and failures of the others, and "
    "awx_workflow_job_name is the name of the job template, as in a sliced job; set the slices of the job template to 1"
)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.inventory({"tfserving": {"a": {"rack": "r1"}, "b": {}}, "balancers": {"g": {}}})
    return made


def test_a_host_whose_name_is_several_in_a_pattern_is_refused(place):
    place.inventory({"tfserving": {"2001:db8::1": {}}})
    code, output = run(place, "tfserving.fleet.site", "-i", "hosts.yml")
    assert code == 1
    assert (
        "ERROR! 2001:db8::1: cannot stand in a pattern beside others; call the host otherwise, and set ansible_host to "
        "its address"
    ) in output


def run(place, *arguments):
    """Return the exit code of the program and what it prints, lines joined."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = playbook_environment(place.folder, PATH=path)
    done = subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=place.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


TAKES = "run it by ansible-playbook; tfserving-fleet takes plan, status, site and serve"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tfserving.fleet.rollout"], f"tfserving.fleet.rollout: is never sliced; {TAKES}"),
        (
            ["tfserving.fleet.site", "-K", "--by", "rack"],
            "--ask-become-pass: is not for a run in slices; give --become-password-file, as slices have no terminal",
        ),
        (
            ["tfserving.fleet.site", "--by", "rack"],
            "--by rack: is not set for b; set it to the failure domain of every host of the fleet",
        ),
        (
            ["tfserving.fleet.site", "-e", "fleet_serial=none"],
            "fleet_serial: is the string 'none'; write a number of hosts from 1, a percentage from 1% to 100%, or a",
        ),
    ],
)
def test_what_cannot_be_run_in_slices_is_refused_in_a_sentence_before_anything_starts(place, arguments, sentence):
    code, output = run(place, *arguments, "-i", "hosts.yml")
    assert code == 1
    assert f"ERROR! {sentence}" in output
    assert "Traceback" not in output
    assert not (place.folder / ".ansible/tfserving-fleet").exists()


def test_plans_of_all_slices_are_one_report(place):
    options = ("-i", "hosts.yml", "--slices", "2", "-e", "plan_json=plan.json __host_plan_service_manager=systemd")
    code, output = run(place, "tfserving.fleet.plan", *options)
    assert code == 0, output
    assert "2 hosts in 2 slices" in output
    assert output.count("Difference to the plan in force") == 1
    assert sorted(json.loads((place.folder / "plan.json").read_text())["hosts"]) == ["a", "b"]
    assert (place.folder / "plan.html").is_file()


def job(place, playbook, **extra):
    """Run a project's playbook as AWX does: its variables behind -e, and the inventory of the slice alone."""
    (place.folder / "project").mkdir()
    (place.folder / "inventory").mkdir()
    (place.folder / "env").mkdir()
    content = [{"ansible.builtin.import_playbook": f"tfserving.fleet.{playbook}"}]
    (place.folder / f"project/{playbook}.yml").write_text(yaml.safe_dump(content))
    # Of three hosts and a gateway the first of three slices: what AWX leaves out is in no group.
    slice_1 = {"tfserving": {"hosts": {"a": HERE}}, "tfserving_gateways": {}}
    (place.folder / "inventory/hosts.yml").write_text(yaml.safe_dump({"all": {"children": slice_1}}))
    (place.folder / "env/extravars").write_text(
        json.dumps({**extra, "plan_html": "", "__host_plan_service_manager": "systemd"})
    )
    command = playbook_command("-i", "inventory", "-e", "@env/extravars", f"project/{playbook}.yml")
    if RUNNER.is_file():
        command = [str(RUNNER), "run", str(place.folder), "-p", f"{playbook}.yml"]
    environment = playbook_environment(place.folder)
    environment["PATH"] = f"{RUNNER.parent}:{environment['PATH']}"
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_job_slice_of_what_restarts_is_refused_before_a_host_is_asked(place):
    code, output = job(place, "site", **SLICED)
    assert code != 0
    assert SENTENCE in output
    assert "Lock the host" not in output


def test_a_job_of_a_workflow_is_no_job_slice(place):
    _code, output = job(place, "site", **NIGHTLY, fleet_hosts="nobody")
    assert "must not be sliced" not in output
    assert "no host of the inventory matches 'nobody'" in output


def test_a_job_slice_may_show_the_plans_of_its_hosts(place):
    code, output = job(place, "plan", **SLICED, awx_job_slice_count=3)
    assert code == 0, output
    assert "Reasons housekeeping.cpus" in output
