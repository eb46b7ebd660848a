# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which playbooks AWX may slice, and how a playbook knows."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import allowed
from refusing import refusal
from repository import REPOSITORY

# As AWX 24.6.1 passes them (awx_meta_vars in its models), under both prefixes.
JOB = {"awx_job_id": 7, "awx_job_template_name": "site", "tower_job_id": 7, "tower_job_template_name": "site"}
WORKFLOW = {**JOB, "awx_workflow_job_id": 6, "awx_workflow_job_name": "nightly", "tower_workflow_job_name": "nightly"}
TAKES = "run it by ansible-playbook; tfserving-fleet takes plan, status, site and serve"
SLICED = {**WORKFLOW, "awx_workflow_job_name": "site", "tower_workflow_job_name": "site"}


@pytest.mark.parametrize(
    ("variables", "mark"),
    [
        ({}, ""),
        (JOB, ""),
        (WORKFLOW, ""),
        (SLICED, "awx_workflow_job_name is the name of the job template, as in a sliced job"),
        ({**JOB, "awx_job_slice_count": 4}, "awx_job_slice_count is 4"),
        ({**JOB, "tower_job_slice_count": "4"}, "tower_job_slice_count is 4"),
        ({**JOB, "awx_job_slice_count": 1, "awx_job_slice_number": 1}, ""),
        ({**JOB, "awx_job_slice_count": None}, ""),
        ({**JOB, "awx_job_slice_count": ["x"]}, ""),
    ],
)
def test_a_job_slice_is_known_by_what_awx_passes(variables, mark):
    assert allowed.job_slice(variables) == mark


def test_what_restarts_refuses_to_be_a_job_slice():
    assert refusal(allowed.refuse_job_slice, "", "site.yml", SLICED) == (
        "site.yml: must not be sliced, as no slice knows of the restarts and failures of the others, and "
        "awx_workflow_job_name is the name of the job template, as in a sliced job; set the slices of the job template "
        "to 1, or run it by tfserving-fleet; docs/large-fleets.md names what may be sliced"
    )


@pytest.mark.parametrize("playbook", sorted(allowed.ANYHOW))
def test_what_looks_at_each_host_by_itself_may_be_a_job_slice(playbook):
    assert refusal(allowed.refuse_job_slice, playbook, playbook, SLICED) == ""


def test_the_table_is_what_the_playbooks_say_of_themselves():
    said = {}
    for path in (REPOSITORY / "playbooks").glob("*.yml"):
        first = yaml.safe_load(path.read_text())[0]
        if first.get("ansible.builtin.import_playbook") == "plays/hosts.yml":
            said[path.stem] = first.get("vars", {}).get("fleet_playbook")
    assert {name for name, told in said.items() if told} == set(allowed.ANYHOW)
    assert all(told in (None, name) for name, told in said.items())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "rollout",
            "x: is never sliced; run it by ansible-playbook; tfserving-fleet takes plan, status, site and serve",
        ),
        ("", f"x: is no playbook of tfserving.fleet; {TAKES}"),
        ("site", ""),
    ],
)
def test_the_runner_takes_what_it_can_join_and_names_that(name, sentence):
    assert refusal(allowed.refuse_playbook, name, "x") == sentence
