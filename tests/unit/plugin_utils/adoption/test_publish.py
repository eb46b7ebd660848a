# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of an adoption: an inventory with equal hosts together, a report that is safe to open, never a half."""

from __future__ import annotations

import json
import os
import re

import adopted_servers as old
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import publish
from planner_cases import box

MACHINE = box(2)
ONE = ("--port=9000", "--model_name=ranker", "--model_base_path=/models/ranker")
EVIL = "</script><img src=x onerror=alert(1)>|`{{ 7*7 }}"


def published(folder, missing=(), **hosts):
    surveys = {name.replace("_", "-"): old.survey(*servers, host="another name") for name, servers in hosts.items()}
    machines = dict.fromkeys(surveys, MACHINE)
    return publish.publish(str(folder), surveys, machines, dict.fromkeys(missing, "it does not answer"))


def read(folder, name):
    return yaml.safe_load((folder / "inventory" / name).read_text())


def test_hosts_with_equal_servers_are_one_group(tmp_path):
    same, other = [old.unit(*ONE)], [old.unit(*ONE, "--grpc_max_threads=7")]
    published(tmp_path / "a", gpu_a01=same, gpu_a02=same, gpu_b01=other)
    assert read(tmp_path / "a", "hosts.yml") == {
        "tfserving": {
            "hosts": {"gpu-b01": None},
            "children": {"adopted_1": {"hosts": {"gpu-a01": None, "gpu-a02": None}}},
        }
    }
    assert read(tmp_path / "a", "group_vars/adopted_1.yml")["tfserving_models"][0]["name"] == "ranker"
    assert read(tmp_path / "a", "host_vars/gpu-b01.yml")["tfserving_instances"][0]["flags"] == {"grpc_max_threads": 7}


def test_a_fleet_of_equal_hosts_is_the_group_of_the_fleet(tmp_path):
    published(tmp_path / "a", gpu_a01=[old.unit(*ONE)], gpu_a02=[old.unit(*ONE)])
    assert read(tmp_path / "a", "hosts.yml") == {"tfserving": {"hosts": {"gpu-a01": None, "gpu-a02": None}}}
    assert "tfserving_instances" in read(tmp_path / "a", "group_vars/tfserving.yml")


def test_a_host_without_servers_is_no_host_of_the_inventory(tmp_path):
    done = published(tmp_path / "a", gpu_a01=[old.unit(*ONE)], empty=[])
    assert list(read(tmp_path / "a", "hosts.yml")["tfserving"]["hosts"]) == ["gpu-a01"]
    assert done.document["hosts"] == ["empty", "gpu-a01"]


def test_a_name_that_can_be_no_file_keeps_its_wishes_beside_it(tmp_path):
    surveys = {"../x": old.survey(old.unit(*ONE)), "b": old.survey(old.unit(*ONE, "--grpc_max_threads=7"))}
    publish.publish(str(tmp_path / "a"), surveys, dict.fromkeys(surveys, MACHINE), {})
    assert "tfserving_models" in read(tmp_path / "a", "hosts.yml")["tfserving"]["hosts"]["../x"]
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_a_folder_that_exists_is_never_touched(tmp_path):
    place = tmp_path / "a"
    place.mkdir()
    (place / "mine").write_text("mine")
    with pytest.raises(WishError, match=f"adopt_dir: {place} exists already; move it away, or name another place"):
        published(place, gpu_a01=[old.unit(*ONE)])
    assert os.listdir(place) == ["mine"]


def test_a_folder_in_no_folder_is_refused(tmp_path):
    with pytest.raises(WishError, match="is no folder; create it, or name another place"):
        publish.checked(str(tmp_path / "none" / "a"))


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(WishError, match="cannot be written"):
        published(tmp_path / "a", gpu_a01=[old.unit(*ONE)])
    assert os.listdir(tmp_path) == []


def test_only_its_owner_reads_it(tmp_path):
    published(tmp_path / "a", gpu_a01=[old.unit(*ONE)])
    for folder, _folders, files in os.walk(tmp_path / "a"):
        modes = {os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in files}
        assert modes <= {0o600}
        assert os.stat(folder).st_mode & 0o77 == 0


def test_text_of_a_host_is_text_on_every_page(tmp_path):
    server = old.unit(*ONE, f"--x={EVIL}\x1b[2J", models=[old.model()], name=f"{EVIL}.service")
    done = published(tmp_path / "a", gpu_a01=[server])
    page = (tmp_path / "a" / "adopt.html").read_text()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\x1b" not in page + done.text
    told = (tmp_path / "a" / "adopt.md").read_text()
    rows = [line for line in told.splitlines() if "onerror" in line and line.startswith("| ")]
    assert rows
    assert all(len(re.findall(r"(?<!\\\\)\|", line.replace(r"\|", ""))) == 6 for line in rows)


def test_the_report_says_what_was_found_and_what_was_not_read(tmp_path):
    done = published(tmp_path / "a", missing=["gpu-z"], gpu_a01=[old.unit(*ONE, "--rest_api_port", "8501")])
    assert done.text.startswith(
        "1 server on 1 host: 0 wrong, 1 without effect, 1 risky\nWithout gpu-z: it does not answer"
    )
    assert "NO EFFECT (1)\n- gpu-a01, ranker: --rest_api_port 8501 is no flag with a value" in done.text
    data = json.loads((tmp_path / "a" / "adopt.json").read_text())
    assert data["missing"] == [{"host": "gpu-z", "why": "it does not answer"}]
    (server,) = data["servers"]
    assert (server["host"], server["instance"], server["ports"]) == ("gpu-a01", "ranker", {"grpc": 9000})


def test_runs_now_and_would_run_stand_beside_each_other(tmp_path):
    done = published(tmp_path / "a", gpu_a01=[old.unit(*ONE, "--grpc_max_threads=7")])
    rows = {row["setting"]: row for row in done.document["servers"][0]["rows"]}
    assert (rows["grpc_max_threads"]["before"], rows["grpc_max_threads"]["after"]) == ("7", "7")
    assert rows["grpc_max_threads"]["fate"] == "kept"
    assert (rows["max_num_load_retries"]["before"], rows["max_num_load_retries"]["after"]) == ("5", "2")
    assert rows["max_num_load_retries"]["fate"] == "planned"
    assert rows["batching"] == {
        "setting": "batching",
        "before": "off",
        "after": "off",
        "fate": "kept",
        "reason": "the old server answers request by request; the plan would form batches",
    }


def test_the_same_finding_on_many_hosts_is_one_line(tmp_path):
    done = published(tmp_path / "a", gpu_a01=[old.unit(*ONE, "x")], gpu_a02=[old.unit(*ONE, "x")])
    assert "- gpu-a[01:02], ranker: x is no flag, and the server does not read it\n" in done.text
