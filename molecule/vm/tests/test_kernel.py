# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernel's settings as they are in force, against the plan on record and against what is known by hand."""

from __future__ import annotations


def test_every_setting_of_the_plan_is_in_force(live):
    planned = {entry["name"]: entry["value"] for entry in live.plan["kernel"]["sysctl"]}
    assert planned
    # The kernel parts several numbers of one setting by tabs.
    found = {name: " ".join((live.seen["settings"][name] or "not there").split()) for name in planned}
    assert found == planned


def test_settings_known_by_hand_are_in_force(live):
    assert live.seen["settings"]["vm.swappiness"] == "1"
    # Placed by the plan: the kernel's own balancing between nodes would fault on the servers' pages.
    assert live.seen["settings"]["kernel.numa_balancing"] == "0"
    assert live.seen["settings"]["net.core.somaxconn"] == "16384"


def test_files_below_sys_hold_what_the_plan_says(live):
    wrong = {
        entry["path"]: values
        for entry in live.plan["kernel"]["sysfs"]
        for values in [live.seen["files"][entry["path"]]]
        if not all(entry["value"] == value or f"[{entry['value']}]" in value.split() for value in values)
    }
    assert wrong == {}


def test_huge_pages_are_given_to_those_who_ask(live):
    assert "[madvise]" in live.seen["thp"].split()


def test_a_machine_without_frequency_scaling_is_left_without(live):
    assert live.seen["governors"] == []


def test_no_unit_has_failed_and_none_waits_to_be_read_again(live):
    assert live.seen["failed"] == []
    assert {name: unit["NeedDaemonReload"] for name, unit in live.seen["instances"].items()} == dict.fromkeys(
        ("tfserving@first.service", "tfserving@second.service"), "no"
    )


def test_instances_come_back_at_the_next_boot(live):
    assert {unit["UnitFileState"] for unit in live.seen["instances"].values()} == {"enabled"}
