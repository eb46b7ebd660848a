# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of site.yml, serve.yml or server_rollback.yml ends with."""

from __future__ import annotations

import pytest
import yaml
from playbook_place import DEAD, Place
from repository import REPOSITORY
from running import run_playbook

SERVED = {
    "name": "main",
    "version": "2.19.1",
    "cpus": "0-3",
    "allocator": "jemalloc",
    "rss_mb": 397,
    "problem": "",
    "models": [
        {
            "name": "ranker",
            "versions": [{"version": 7, "state": "AVAILABLE"}],
            "probe": {"ok": True, "median_ms": 1.84, "answer": "[0.501295626, 0.616366625, 0.7]"},
        }
    ],
}
TABLE = """\
host  instance  server  model   version  CPUs  allocator  memory   prediction                      latency
────  ────────  ──────  ──────  ───────  ────  ─────────  ───────  ──────────────────────────────  ───────
a     main      2.19.1  ranker  7        0-3   jemalloc   397 MiB  [0.501295626, 0.616366625, 0.…  1.8 ms
dead  -         -       -       -        -     -          -        -                               -

No answer, see the messages above:
  dead
"""


@pytest.fixture
def place(tmp_path):
    """A run that has served one host and left out the other."""
    place = Place(tmp_path)
    place.inventory({"tfserving": {"a": {}, "dead": DEAD}}, fleet_unreachable="leave_out")
    plays = [
        {
            "hosts": "tfserving",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.include_role": {"name": "tfserving.fleet.fleet", "tasks_from": "reach.yml"}},
                {"ansible.builtin.set_fact": {"tfserving_result": {"status": {"instances": [SERVED]}}}},
            ],
        },
        {"ansible.builtin.import_playbook": f"{REPOSITORY}/playbooks/plays/end.yml"},
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    return place


@pytest.mark.parametrize("callback", ["default", "tfserving.fleet.progress"])
def test_a_run_ends_with_one_table_of_all_its_hosts(place, callback):
    done = run_playbook(place.folder, "-i", "hosts.yml", "play.yml", ANSIBLE_STDOUT_CALLBACK=callback)
    assert TABLE in done.stdout
    assert done.stdout.count("No answer") == 1
    assert done.returncode != 0


def test_check_mode_has_applied_nothing_and_shows_none(place):
    code, output = place.run("play.yml", "--check")
    assert code != 0
    assert "dead: could not be reached and was left out (fleet_unreachable)" in output
    assert "instance server model" not in output


def test_each_playbook_that_serves_ends_so():
    for name in ("site", "serve", "server_rollback"):
        last = yaml.safe_load((REPOSITORY / f"playbooks/{name}.yml").read_text())[-1]
        assert last["ansible.builtin.import_playbook"] == "plays/serve.yml"
    plays = yaml.safe_load((REPOSITORY / "playbooks/plays/serve.yml").read_text())[-2:]
    # Behind the table only what of the monitoring has failed.
    assert [each["ansible.builtin.import_playbook"] for each in plays] == ["end.yml", "monitoring_end.yml"]
