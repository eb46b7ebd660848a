# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which units a host has for its instances, and with which plan each of them runs."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.units import Units, planned_mark

TEMPLATE = "tfserving@{name}.service"


class Systemctl:
    """Answers like systemctl, by the command's first word, and remembers what it was asked."""

    def __init__(self, **answers: tuple[int, str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, arguments: list[str]) -> tuple[int, str, str]:
        self.asked.append(" ".join(arguments[1:]))
        return self.answers.get(arguments[1].replace("-", "_"), (0, "", ""))


def units(tmp_path, **answers: tuple[int, str, str]) -> Units:
    return Units(Systemctl(**answers), TEMPLATE, tmp_path)


def test_instances_are_those_that_run_and_those_that_would_start_at_boot(tmp_path):
    running = (0, "tfserving@ranker.service loaded active running TensorFlow Serving instance ranker\n", "")
    installed = (0, "tfserving@.service disabled enabled\ntfserving@old.service enabled enabled\n", "")
    assert units(tmp_path, list_units=running, list_unit_files=installed).instances() == ["old", "ranker"]


def test_a_host_without_any_instance_has_none(tmp_path):
    assert units(tmp_path, list_unit_files=(1, "", "")).instances() == []


def test_a_process_that_carries_another_plan_can_be_told(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/environ").write_text("PATH=/usr/bin\0TFSERVING_CONFIGURATION=old-1\0")
    shown = "UnitFileState=enabled\nActiveState=active\nMainPID=7\nEnvironment=TFSERVING_CONFIGURATION=new-1\n"
    unit = units(tmp_path, show=(0, shown, "")).show("ranker")
    assert (unit.enabled, unit.active, unit.mark, unit.running_mark) == (True, True, "new-1", "old-1")


def test_a_unit_that_systemd_does_not_know_is_neither_enabled_nor_active(tmp_path):
    unit = units(tmp_path, show=(0, "UnitFileState=\nActiveState=inactive\nMainPID=0\n", "")).show("ranker")
    assert (unit.enabled, unit.active, unit.mark, unit.running_mark) == (False, False, "", "")


def test_the_mark_of_a_plan_names_the_plan_and_the_unit_file():
    assert planned_mark({"digest": "0e95d501c467"}, "08365d6e459d") == "0e95d501c467-08365d6e459d"


def test_what_systemctl_refuses_is_told_in_its_own_words(tmp_path):
    refusing = units(tmp_path, start=(1, "", "Unit tfserving@ranker.service is masked.\n"))
    with pytest.raises(RuntimeError, match=r"systemctl start .* failed: Unit tfserving@ranker.service is masked\.$"):
        refusing.start("ranker")


def test_an_instance_that_left_the_plan_stays_stopped_after_a_boot(tmp_path):
    systemctl = Systemctl()
    Units(systemctl, TEMPLATE, tmp_path).remove("old")
    assert systemctl.asked[0] == "disable --quiet --now tfserving@old.service"
