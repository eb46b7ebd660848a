# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which hosts may leave a run early, and how the plays behind leave them out."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml
from playbook_place import Place
from repository import REPOSITORY

VALIDATE = {"ansible.builtin.include_role": {"name": "tfserving.fleet.host_plan", "tasks_from": "validate.yml"}}
MODEL = {"name": "m", "versions": [1], "source": {"type": "path", "uri": "/srv/models/m"}}
INSTANCE = {"name": "one", "models": ["m"]}
FAST = "fast: {{ groups.fleet_fast | default([]) | sort | join(' ') }}"
SAID = FAST + ", digest of {{ host_plan_wishes.digest | default('') | length }}"

# The check of the variables and both calls. What would refuse the host is skipped, and where it is the first of those
# that are compared, in whatever order they have answered, so is the report of whole runs.
LEFT_EARLY = r"h2 : ok=3 changed=0 unreachable=0 failed=0 skipped=[12]\b"


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_only_hosts_that_ask_for_it_and_depend_on_no_other_host_may_be_fast(place):
    fast, slow = {"fleet_fast": True}, {"fleet_fast": False}
    hosts = {"h1": fast, "h2": {}, "h3": {**fast, "tfserving_fleet_bundle": "/srv/bundle"}, "h4": slow}
    place.inventory({"tfserving": hosts}, tfserving_models=[MODEL], tfserving_instances=[INSTANCE])
    place.playbook(VALIDATE, {"ansible.builtin.debug": {"msg": SAID}})
    code, output = place.run("play.yml", "--check")
    assert code == 0, output
    assert "fast: h1, digest of 64" in output
    assert output.count("digest of 0") == 3


def test_what_may_be_secret_comes_beside_the_record(place):
    source = {"type": "http", "uri": "https://models.example/m.tar.gz?token=hush", "sha256": "0" * 64}
    headers = {"Authorization": "Bearer hush2"}
    model = {**MODEL, "source": source}
    wishes = {"tfserving_models": [model], "tfserving_instances": [INSTANCE], "model_repository_headers": headers}
    place.inventory({"tfserving": {"h1": {"fleet_fast": True}}}, **wishes)
    said = "{{ (host_plan_wishes.beside | from_json).sources | from_json == sources }}"
    said += " {{ (host_plan_wishes.beside | from_json).headers == model_repository_headers }}"
    shown = {"ansible.builtin.debug": {"msg": said}, "vars": {"sources": {"m": {"uri": source["uri"]}}}}
    place.playbook(VALIDATE, shown)
    code, output = place.run("play.yml", "--check", "-v")
    assert code == 0, output
    assert "True True" in output
    assert "hush" not in output


def test_a_host_without_a_record_stays_and_is_told_why(place):
    hosts = {"h1": {"fleet_fast": True}, "h2": {}}
    place.inventory({"tfserving": hosts}, tfserving_models=[MODEL], tfserving_instances=[INSTANCE])
    (rest,) = hosts_of("site.yml")
    plays = [
        {"hosts": "all", "gather_facts": False, "tasks": [VALIDATE]},
        {"ansible.builtin.import_playbook": str(REPOSITORY / "playbooks/plays/fast.yml")},
        show("behind", rest),
    ]
    (place.folder / "play.yml").write_text(yaml.safe_dump(plays))
    code, output = place.run("play.yml")
    assert code == 0, output
    assert "h1: it has no record of a run" in output
    assert "h2: it has" not in output
    assert "behind h1+h2" in output
    assert output.count("changed=0") == 2


def instance_told(host):
    ports, states = {"grpc": 8500, "rest": 8501}, [{"version": 1, "state": "AVAILABLE", "error": ""}]
    model = {"name": "m", "versions": states, "labels": {}, "problem": ""}
    told = {"name": host, "unit": "x", "ports": ports, "state": "active (running)", "models": [model], "problem": ""}
    return {**told, "restarts": 0, "pid": 7, "version": "2.19.1", "latency_ms": 1.0}


def simulated(place, **more):
    """Let two hosts answer both calls as unchanged hosts do, and with more."""
    plugins = place.folder / "connection_plugins"
    plugins.mkdir()
    shutil.copy(REPOSITORY / "lab/bench/connections/simulated.py", plugins)
    hosts = {}
    for host in ("h1", "h2"):
        status = {"instances": [instance_told(f"of-{host}")]}
        answer = {"changed": False, "other": {}, "unchanged": True, "why": "", "plan": {}, "status": status, **more}
        (place.folder / f"{host}.json").write_text(json.dumps(answer))
        hosts[host] = {"simulated_answer": str(place.folder / f"{host}.json")}
    wishes = {"tfserving_models": [MODEL], "tfserving_instances": [INSTANCE], "fleet_fast": True}
    place.inventory({"tfserving": hosts}, **wishes, ansible_connection="simulated", ansible_pipelining=True)


def test_unchanged_hosts_end_after_two_calls_and_have_their_rows_in_the_table(place):
    simulated(place)
    code, output = site(place)
    assert code == 0, output
    assert re.search(LEFT_EARLY, output), output
    assert "of-h1 2.19.1 m 1" in output
    assert "of-h2 2.19.1 m 1" in output
    assert "Compare the NVIDIA driver with the wishes" not in output


def test_hosts_with_exporters_are_left_to_them_alone(place):
    simulated(place, watched=True)
    _code, output = site(place)
    tasks = re.findall(r"TASK \[([^\]]+)\]", output)
    assert "tfserving.fleet.monitoring : Plan the exporters" in tasks
    assert "Compare the NVIDIA driver with the wishes" not in output


def site(place):
    play = [{"ansible.builtin.import_playbook": str(REPOSITORY / "playbooks/site.yml")}]
    (place.folder / "play.yml").write_text(yaml.safe_dump(play))
    return place.run("play.yml")


def hosts_of(path):
    """Return what the plays of a playbook run on, without those on other hosts."""
    plays = yaml.safe_load((REPOSITORY / "playbooks" / path).read_text(encoding="utf-8"))
    return {play["hosts"] for play in plays if "fleet_hosts" in play.get("hosts", "")}


def show(word, hosts, **play):
    said = {"ansible.builtin.debug": {"msg": word + " {{ ansible_play_batch | join('+') }}"}}
    return {"hosts": hosts, "gather_facts": False, **play, "tasks": [{**said, "run_once": True}]}


def leave(hosts):
    return {"hosts": hosts, "gather_facts": False, "tasks": [{"ansible.builtin.group_by": {"key": "fleet_unchanged"}}]}


@pytest.mark.parametrize(
    ("early", "batches"),
    [("none", ["h1", "h2", "h3"]), ("h1", ["h2+h3"]), ("h2", ["h1", "h3"]), ("all", [])],
)
def test_plays_behind_leave_unchanged_hosts_out_whatever_the_pattern(place, early, batches):
    (rest,) = hosts_of("site.yml")
    assert hosts_of("plays/serve.yml") == {rest}
    serves = yaml.safe_load((REPOSITORY / "playbooks/plays/serve.yml").read_text(encoding="utf-8"))
    (serial,) = [play["serial"] for play in serves if "serial" in play]
    plays = [show("before", rest), leave(early), show("behind", rest, serial=serial)]
    # The batch size of the first host that takes part, which a run in slices gives to none but those.
    first, others = {"fleet_serial": 1}, {"fleet_serial": 3}
    place.inventory({"tfserving": {"h1": first, "h2": others, "h3": others}, "none": {}})
    (place.folder / "play.yml").write_text(yaml.safe_dump(plays))
    code, output = place.run("play.yml", "-e", '{"fleet_hosts": ["h1:h2", "h3"]}')
    assert code == 0, output
    assert "before h1+h2+h3" in output
    assert re.findall(r"behind ([h0-9+]+)", output) == batches
