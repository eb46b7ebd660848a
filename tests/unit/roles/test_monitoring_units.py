# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When the role monitoring starts the units that it lays down."""

from __future__ import annotations

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
