# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which stages a run has, and which of them a task opens."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.progress.stages import TITLES, Course, Play, Stage
from repository import REPOSITORY

PREFIX = "tfserving.fleet"


@pytest.fixture
def course():
    return Course(
        {
            "begin": Play("Take the lock", ()),
            "driver": Play("Change the driver", (f"{PREFIX}.nvidia_driver",)),
            "tune": Play("Tune and serve", (f"{PREFIX}.kernel_tuning", f"{PREFIX}.tfserving", "acme.tools.agent")),
        }
    )


def test_a_play_without_roles_is_one_stage_by_its_own_name(course):
    course.begin("begin")
    assert course.enter("") == Stage(1, 5, "Take the lock")
    assert course.enter(f"{PREFIX}.host_plan") is None


def test_each_role_that_a_play_lists_is_a_stage(course):
    course.begin("tune")
    assert course.enter(f"{PREFIX}.kernel_tuning") == Stage(3, 5, "Tune the kernel")
    assert course.enter(f"{PREFIX}.kernel_tuning") is None
    assert course.enter(f"{PREFIX}.tfserving") == Stage(4, 5, TITLES[f"{PREFIX}.tfserving"])
    assert course.enter("acme.tools.agent") == Stage(5, 5, "acme.tools.agent")


def test_tasks_before_and_after_the_roles_belong_to_the_stage_beside_them(course):
    course.begin("tune")
    assert course.enter("") == Stage(3, 5, "Tune the kernel")
    assert course.enter(f"{PREFIX}.kernel_tuning") is None
    course.enter("acme.tools.agent")
    assert course.enter(f"{PREFIX}.model_repository") is None
    assert course.stage == Stage(5, 5, "acme.tools.agent")


def test_a_handler_of_an_earlier_role_opens_no_stage_again(course):
    course.begin("tune")
    course.enter("acme.tools.agent")
    assert course.enter(f"{PREFIX}.kernel_tuning") is None
    assert course.stage == Stage(5, 5, "acme.tools.agent")


def test_a_play_without_hosts_is_named_so_that_no_number_is_missing(course):
    course.begin("driver")
    assert course.passed_over() == (Stage(2, 5, "Change the driver"), Stage(2, 5, "Change the driver"))
    course.begin("tune")
    assert course.passed_over() == (Stage(3, 5, "Tune and serve"), Stage(5, 5, "Tune and serve"))


def test_the_next_batch_of_hosts_opens_the_stages_again(course):
    for _batch in range(2):
        course.begin("tune")
        assert course.enter(f"{PREFIX}.kernel_tuning") == Stage(3, 5, "Tune the kernel")


def test_plays_that_match_nobody_are_passed_over(course):
    course.begin("begin")
    course.enter("")
    course.begin("tune")
    assert course.enter("").number == 3


def test_what_runs_without_a_known_play_has_a_stage_all_the_same(course):
    course.begin("unknown")
    assert course.enter(f"{PREFIX}.tfserving") == Stage(1, 5, "")


def test_every_role_that_a_playbook_lists_has_a_title():
    listed = {
        role["role"]
        for path in [*REPOSITORY.glob("playbooks/*.yml"), *REPOSITORY.glob("playbooks/plays/*.yml")]
        for play in yaml.safe_load(path.read_text())
        for role in play.get("roles", ())
    }
    assert listed
    assert listed <= set(TITLES)
    assert set(TITLES) == {f"{PREFIX}.{path.parent.parent.name}" for path in REPOSITORY.glob("roles/*/tasks/main.yml")}
