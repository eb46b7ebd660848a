# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The inventory that starter.yml writes: for an empty folder, valid as it is, and never over another one."""

from __future__ import annotations

import sys

import pytest
from running import run_playbook

LOCAL = "\n  vars: {{ansible_connection: local, ansible_become: false, ansible_python_interpreter: {}}}\n"


@pytest.fixture
def started(tmp_path):
    done = run_playbook(tmp_path, "tfserving.fleet.starter")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_an_empty_folder_gets_an_inventory_that_can_be_planned(tmp_path, started):
    assert f"ansible-playbook -i {tmp_path}/inventory tfserving.fleet.plan" in started.stdout
    assert "stdout_callback = tfserving.fleet.progress" in (tmp_path / "ansible.cfg").read_text()
    hosts = tmp_path / "inventory/hosts.yml"
    hosts.write_text(hosts.read_text().rstrip() + LOCAL.format(sys.executable))
    given = ("-e", "__host_plan_service_manager=systemd plan_html=")
    plan = run_playbook(tmp_path, "-i", "inventory", *given, "tfserving.fleet.plan")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "gpu1.example.com" in plan.stdout
    assert "ranker 1" in plan.stdout


def test_what_is_there_stays(tmp_path, started):
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    again = run_playbook(tmp_path, "tfserving.fleet.starter")
    assert again.returncode == 2
    sentence = f"starter_dir: {tmp_path}/inventory exists already; move it away, or name another place"
    assert sentence in " ".join((again.stdout + again.stderr).split())
    other = run_playbook(tmp_path, "tfserving.fleet.starter", "-e", "starter_dir=second")
    assert other.returncode == 0, other.stdout + other.stderr
    assert (tmp_path / "second/hosts.yml").is_file()
    assert (tmp_path / "ansible.cfg").read_text() == "[defaults]\n"


def test_check_mode_writes_nothing(tmp_path):
    done = run_playbook(tmp_path, "tfserving.fleet.starter", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "inventory").exists()
    assert not (tmp_path / "ansible.cfg").exists()
