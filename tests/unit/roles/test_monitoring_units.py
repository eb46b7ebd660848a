# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the role monitoring installs packages, and starts the units that it lays down."""

from __future__ import annotations

from fnmatch import fnmatchcase

import jinja2
import pytest
import yaml
from repository import REPOSITORY

ROLE = REPOSITORY / "roles/monitoring"
LAID_DOWN = {path.stem: path for path in ROLE.glob("templates/*/etc/systemd/system/*.j2")}
STARTS = {
    task["ansible.builtin.systemd_service"]["name"]: task
    for file in ("start.yml", "exporters_start.yml")
    for task in yaml.safe_load((ROLE / "tasks" / file).read_text(encoding="utf-8"))
    if task.get("ansible.builtin.systemd_service", {}).get("name") in LAID_DOWN
}


def starts(unit: str, check_mode: bool, created: list[str]) -> bool:
    """Return whether the role starts a unit, having created some files, or being about to in check mode."""
    files = {"created": created, "changed_files": created}
    known = {
        "ansible_check_mode": check_mode,
        "__monitoring_filters": True,
        "__monitoring_exporters": {"collects": True},
        "__monitoring_exporter_files": files,
        "__monitoring_config": files,
    }
    when = STARTS[unit].get("when", True)
    conditions = when if isinstance(when, list) else [when]
    return all(jinja2.Environment().compile_expression(str(each))(known) for each in conditions)


def test_what_is_laid_down_to_be_started_is_started():
    assert sorted(STARTS) == [
        "tfserving-collector.timer",
        "tfserving-monitoring-exporters.service",
        "tfserving-monitoring-pages.service",
    ]


@pytest.mark.parametrize("unit", sorted(STARTS))
def test_check_mode_starts_no_unit_that_is_not_there_yet(unit):
    new = [f"/etc/systemd/system/{unit}"]
    assert starts(unit, check_mode=False, created=new)
    assert starts(unit, check_mode=True, created=[])
    assert not starts(unit, check_mode=True, created=new)


def test_every_file_of_a_monitoring_host_belongs_to_one_of_its_two_trees():
    known = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    trees = [known["__monitoring_config_files"], known["__monitoring_part_files"]]
    root = ROLE / "templates/host"
    for path in (each.relative_to(root).as_posix().removesuffix(".j2") for each in root.rglob("*") if each.is_file()):
        assert [any(fnmatchcase(path, each) for each in tree) for tree in trees].count(True) == 1, path


def tasks(file: str) -> list[dict]:
    return yaml.safe_load((ROLE / "tasks" / file).read_text(encoding="utf-8"))


def enabling(task: dict) -> bool | None:
    """Return what a task wants of units at boot, None where it says nothing."""
    return task.get("ansible.builtin.systemd_service", {}).get("enabled")


@pytest.mark.parametrize("file", ["start.yml", "exporters_start.yml"])
def test_what_has_not_been_proven_is_not_started_by_the_next_boot(file):
    found = tasks(file)
    proof = next(at for at, task in enumerate(found) if "tfserving.fleet.monitoring_proof" in task)
    assert not any(enabling(task) for task in found[:proof])
    assert any(enabling(task) for task in found[proof:])


@pytest.mark.parametrize("file", ["install.yml", "exporters_install.yml"])
def test_what_a_package_enables_is_disabled_at_once(file):
    found = tasks(file)
    after = next(at for at, task in enumerate(found) if "ansible.builtin.apt" in task) + 1
    assert enabling(found[after]) is False


def test_nothing_is_installed_before_all_that_may_be_refused():
    block = yaml.safe_load((ROLE / "tasks/main.yml").read_text(encoding="utf-8"))[-1]["block"]
    order = [next(value for key, value in task.items() if key.endswith("_tasks")) for task in block]
    texts = [(ROLE / "tasks" / file).read_text(encoding="utf-8") for file in order]
    installs = next(at for at, text in enumerate(texts) if "ansible.builtin.apt:" in text)
    refusing = ("ansible.builtin.assert:", "ansible.builtin.fail:", "tfserving.fleet.monitoring_plan:")
    assert [any(each in text for each in refusing) for text in texts[:installs]] == [True] * installs
    assert not any(each in text for text in texts[installs:] for each in refusing)


def test_a_port_that_somebody_has_is_refused_before_the_exporter_is_installed():
    tasks = yaml.safe_load((ROLE / "tasks/exporters_install.yml").read_text(encoding="utf-8"))
    names = [key for task in tasks for key in task if key.startswith("ansible.builtin.")]
    assert names.index("ansible.builtin.fail") < names.index("ansible.builtin.apt")
    assert names.count("ansible.builtin.fail") == 1
