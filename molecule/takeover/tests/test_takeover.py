# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An old server is adopted, its instance serves beside it, takes over from it, and gives it back: in this order."""

from __future__ import annotations

import json

import pytest
import yaml


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adoption") / "adopted"


@pytest.fixture
def run(site, folder):
    """Run a playbook, with the inventories of the adoption."""

    def ran(playbook, *inventories, **variables):
        options = [part for name in inventories for part in ("-i", str(folder / name))]
        return site(*options, playbook=playbook, adopt_dir=str(folder), **variables)

    return ran


def answers(host, port):
    return host.run(f"curl --silent --fail --max-time 10 http://127.0.0.1:{port}/v1/models/digits").rc == 0


def test_the_adoption_finds_the_server_and_changes_nothing(run, host, folder):
    done = run("playbooks/adopt.yml")
    assert done.status == 0, done.output
    assert "changed=0" in done.output
    document = json.loads((folder / "adopt.json").read_text())
    told = {each["id"]: each["text"] for each in document["findings"]}
    assert told["word.unknown"].endswith("the flag is 'rest_api_timeout_in_ms'")
    (server,) = document["servers"]
    assert (server["origin"]["kind"], server["ports"]) == ("systemd", {"grpc": 9500, "rest": 9501})
    wishes = yaml.safe_load((folder / "inventory/group_vars/tfserving.yml").read_text())
    assert wishes["tfserving_instances"] == [
        {
            "name": "old-serving",
            "models": ["digits"],
            "batching": {"enabled": False},
            "ports": {"grpc": 9500, "rest": 9501},
            "environment": {"TF_CPP_MIN_LOG_LEVEL": "1"},
            "flags": {"rest_api_num_threads": 6},
        }
    ]
    assert answers(host, 9501)


# Each asks the host, or pytest would put it behind those that do.
def test_a_second_adoption_overwrites_nothing(run, host):
    done = run("playbooks/adopt.yml")
    assert done.status != 0
    assert "exists already; move it away, or name another place" in done.output
    assert answers(host, 9501)


def test_without_its_instance_the_old_server_is_not_stopped(run, host):
    done = run("playbooks/adopt_takeover.yml", "inventory", "beside")
    assert "tfserving_instances: the instance old-serving does not run beside old-serving" in done.output
    assert answers(host, 9501)


@pytest.mark.long
def test_the_instance_serves_beside_the_old_server(run, host):
    done = run("site.yml", "inventory", "beside")
    assert done.status == 0, done.output
    assert answers(host, 9501)
    assert answers(host, 18501)


@pytest.mark.long
def test_check_mode_stops_nothing(site, folder, host):
    options = ["-i", str(folder / "inventory"), "-i", str(folder / "beside"), "--check"]
    done = site(*options, playbook="playbooks/adopt_takeover.yml", adopt_dir=str(folder))
    assert done.status == 0, done.output
    assert answers(host, 9501)


@pytest.mark.long
def test_the_take_over_stops_and_disables_the_old_server(run, host):
    done = run("playbooks/adopt_takeover.yml", "inventory", "beside", adopt_idle_s=60)
    assert done.status == 0, done.output
    assert "Whoever calls it on 9500 and 9501 has to call old-serving on 18500 and 18501, or a gateway" in done.output
    unit = host.service("old-serving.service")
    assert (unit.is_running, unit.is_enabled) == (False, False)
    assert host.file("/etc/systemd/system/old-serving.service").exists
    assert answers(host, 18501)


@pytest.mark.long
def test_a_second_take_over_has_nothing_to_do(run, host):
    done = run("playbooks/adopt_takeover.yml", "inventory", "beside")
    assert done.status == 0, done.output
    assert "ends. Whoever calls it" not in done.output
    assert not host.service("old-serving.service").is_running


@pytest.mark.long
def test_the_way_back_starts_and_enables_it(run, host):
    done = run("playbooks/adopt_undo.yml", "inventory", "beside")
    assert done.status == 0, done.output
    unit = host.service("old-serving.service")
    assert (unit.is_running, unit.is_enabled) == (True, True)
    assert answers(host, 18501)
