# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which hosts may leave a run early, and how the plays behind leave them out."""

from __future__ import annotations

import pytest
import yaml
from playbook_place import Place
from repository import REPOSITORY

VALIDATE = {"ansible.builtin.include_role": {"name": "tfserving.fleet.host_plan", "tasks_from": "validate.yml"}}
MODEL = {"name": "m", "versions": [1], "source": {"type": "path", "uri": "/srv/models/m"}}
INSTANCE = {"name": "one", "models": ["m"]}
FAST = "fast: {{ groups.fleet_fast | default([]) | sort | join(' ') }}"
SAID = FAST + ", digest of {{ __host_plan_wishes.digest | default('') | length }}"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_only_hosts_that_ask_for_it_and_depend_on_no_other_host_may_be_fast(place):
    fast = {"fleet_fast": True}
    hosts = {"h1": fast, "h2": {}, "h3": {**fast, "tfserving_fleet_bundle": "/srv/bundle"}}
    place.inventory({"tfserving": hosts}, tfserving_models=[MODEL], tfserving_instances=[INSTANCE])
    place.playbook(VALIDATE, {"ansible.builtin.debug": {"msg": SAID}})
    code, output = place.run("play.yml", "--check")
    assert code == 0, output
    assert "fast: h1, digest of 64" in output
    assert output.count("digest of 0") == 2


def hosts_of(path):
    """Return what the plays of a playbook run on, without those on other hosts."""
    plays = yaml.safe_load((REPOSITORY / "playbooks" / path).read_text(encoding="utf-8"))
    return {play["hosts"] for play in plays if "fleet_hosts" in play.get("hosts", "")}


def test_plays_behind_leave_unchanged_hosts_out_whatever_the_pattern(place):
    (rest,) = hosts_of("site.yml")
    assert hosts_of("plays/serve.yml") == {rest}
    plays = [
        {
            "hosts": rest,
            "gather_facts": False,
            "tasks": [{"ansible.builtin.debug": {"msg": "before {{ ansible_play_hosts }}"}}],
        },
        {
            "hosts": "h2",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.group_by": {"key": "fleet_unchanged"}}],
        },
        {
            "hosts": rest,
            "gather_facts": False,
            "tasks": [{"ansible.builtin.debug": {"msg": "behind {{ ansible_play_hosts }}"}}],
        },
    ]
    place.inventory({"tfserving": {"h1": {}, "h2": {}, "h3": {}}})
    (place.folder / "play.yml").write_text(yaml.safe_dump(plays))
    code, output = place.run("play.yml", "-e", '{"fleet_hosts": ["h1,h2", "h3"]}')
    assert code == 0, output
    assert "['h1', 'h2', 'h3']" in output.replace('"', "'") or "h1 - h2 - h3" in output
    behind = output[output.index("behind") :]
    assert "h2" not in behind[: behind.index("PLAY RECAP")]
    assert "WARNING" not in output
