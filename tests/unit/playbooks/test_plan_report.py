# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""plan.yml as users run it, with this machine as its hosts, and the action that prints and writes its report."""

from __future__ import annotations

import json
import sys

import yaml
from repository import REPOSITORY
from running import run_playbook

INVENTORY = {
    "tfserving": {
        "hosts": {
            "h1": {},
            "h2": {},
            "rooted": {"tfserving_group": "root"},
            "wrong": {"tfserving_models": [{"name": "ranker", "verion": 1}]},
        },
        "vars": {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "tfserving_models": [{"name": "ranker", "version": 1, "source": {"type": "path", "uri": "/srv/ranker"}}],
        },
    }
}


TEXT = "a\x1b[2Jb\r\nc\u202e"


def run(folder, *arguments, playbook="tfserving.fleet.plan"):
    """Run the playbook in a folder of its own."""
    (folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY))
    # This machine may be a container that something else runs.
    given = ("-e", "__host_plan_service_manager=systemd")
    return run_playbook(folder, "-i", "hosts.yml", *given, playbook, *arguments)


def test_check_mode_shows_the_plans_and_keeps_the_page(tmp_path):
    done = run(tmp_path, "--check")
    assert "h[1:2] (2 hosts)" in done.stdout, done.stdout + done.stderr
    assert "\nNot planned, see the messages above:\n  rooted, wrong\n" in done.stdout
    refusal = "tfserving_group: root comes with the system (id 0); leave tfserving_group out, or name a group that is"
    assert refusal in " ".join((done.stdout + done.stderr).split())
    assert f"Report: file://{tmp_path}/plan.html" in done.stdout
    assert "h[1:2]" in (tmp_path / "plan.html").read_text()
    assert "changed=0" in done.stdout
    assert "changed=1" not in done.stdout
    # Two hosts were refused: whoever runs this in a pipeline has to see it.
    assert done.returncode != 0


def test_no_page_is_kept_and_no_reasons_are_shown_when_so_asked(tmp_path):
    done = run(tmp_path, "--limit", "h1", "-e", "plan_html= plan_reasons=false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nPlace\n" in done.stdout
    assert "Reasons" not in done.stdout
    assert "Not planned" not in done.stdout
    assert not list(tmp_path.glob("*.html"))


def test_a_pipeline_gets_data_a_comment_and_an_exit_code(tmp_path):
    files = "plan_html= plan_json=plan.json plan_markdown=plan.md plan_exit_code=true"
    done = run(tmp_path, "--limit", "h1,h2,wrong", "-e", files)
    assert done.returncode == 2
    sentence = "plan_exit_code: 2 of 3 hosts would change (h1, h2); the differences stand above, and"
    sentence += " tfserving.fleet.site"
    assert sentence in " ".join(done.stdout.split())
    document = json.loads((tmp_path / "plan.json").read_text())
    assert (document["schema"], document["would_change"]) == (1, True)
    assert (document["changing"], document["missing"]) == (["h1", "h2"], ["wrong"])
    assert document["hosts"]["h1"]["instances"] == [{"name": "main", "effect": "add", "changes": []}]
    assert (tmp_path / "plan.md").read_text().startswith("## Plan: 2 of 2 hosts would change\n\n**Not planned**")


def test_without_being_asked_a_change_is_no_failure(tmp_path):
    done = run(tmp_path, "--limit", "h1", "-e", "plan_html= plan_json=plan.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "plan.json").read_text())["would_change"] is True
    assert not (tmp_path / "plan.md").exists()


def test_a_page_that_cannot_be_written_costs_nobody_the_plan(tmp_path):
    done = run(tmp_path, "--limit", "h1", "-e", "plan_html=none/plan.html")
    assert done.returncode != 0
    sentence = "dest: none/plan.html cannot be written (No such file or directory); choose another place"
    assert sentence in " ".join((done.stdout + done.stderr).split())
    assert done.stdout.index("\nPlace\n") < done.stdout.index("fatal: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_host_without_systemd_is_refused_by_the_plan(tmp_path):
    done = run(tmp_path, "--limit", "h1", "-e", "__host_plan_service_manager=openrc")
    assert done.returncode != 0
    assert (
        "h1: is not run by systemd but by openrc, and the servers are units of systemd; boot the host with systemd as "
        "its first process, or take it out of the fleet"
    ) in " ".join(done.stdout.split())


def test_a_printed_text_moves_no_cursor_and_keeps_its_lines(tmp_path):
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"tfserving.fleet.report": {"text": TEXT}}]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = run(tmp_path, playbook="play.yml")
    assert "\na\\x1b[2Jb\\r\nc\\u202e\n" in done.stdout, done.stdout + done.stderr


def test_what_needs_no_gpus_is_refused_before_a_driver_is_changed():
    """Only then is the host planned, since its GPUs may come with the driver."""
    plays = {play["name"]: play for play in yaml.safe_load((REPOSITORY / "playbooks/site.yml").read_text())}
    names = list(plays)
    checked, changed = (
        names.index(name) for name in ("Check the hosts before driver changes", "Change the NVIDIA driver")
    )
    assert names[checked + 1 : changed] == ["Wait for all slices before driver changes"]
    early, change = plays["Check the hosts before driver changes"], plays["Change the NVIDIA driver"]
    assert early["tasks"][0]["ansible.builtin.import_role"]["name"] == "tfserving.fleet.host_plan"
    assert early["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "survey.yml"
    assert early["hosts"] == change["hosts"]
    assert early["any_errors_fatal"]
    assert change["roles"] == [{"role": "tfserving.fleet.nvidia_driver"}]
