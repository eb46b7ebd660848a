# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The survey of a whole recorded host: known answers, hosts that do not tell, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import collect
from hypothesis import given, settings
from hypothesis import strategies as st
from surveyed_host import SERVER, Host, Programs, recorded

SERVED = {"serves": [{"model": "digits", "version": 1, "state": "AVAILABLE", "error": None}], "labels": {}}
CONFIG = 'model_config_list { config { name: "digits" base_path: "/srv/digits" } }\n'


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    made.write("etc/models.config", CONFIG)
    made.version("srv/digits/1")
    argv = [SERVER, "--port=9500", "--rest_api_port=9501", "--model_config_file=/etc/models.config"]
    made.process(
        10, argv, group="/system.slice/old-serving.service", listening={9500: "00000000", 9501: "00000000"},
        environment=["TF_CPP_MIN_LOG_LEVEL=1", "HF_TOKEN=planted"],
    )  # fmt: skip
    return made


@pytest.fixture
def programs():
    return Programs(
        {
            "systemctl list-unit-files": recorded("systemctl_list.txt"),
            "systemctl show": recorded("systemctl_show.txt"),
            "docker ps": f"{'c' * 64}\n",
            "docker inspect": recorded("docker_inspect_stopped.json"),
        }
    )


def survey(host, programs, **means):
    means = {"nvidia": lambda _arguments: None, "served": lambda *_arguments: SERVED, **means}
    return collect.survey(collect.Wanted("host-a", 60.0), collect.Means(host.tree, programs, **means))


def test_a_host_is_surveyed_in_one_call(host, programs):
    smi = "10, GPU-0a\n11, GPU-0b\n"
    found = survey(host, programs, nvidia=lambda _arguments: smi)
    (server,) = found["servers"]
    assert (found["schema"], found["host"], found["unread"]) == (1, "host-a", [])
    assert (server["origin"]["kind"], server["origin"]["name"]) == ("systemd", "old-serving.service")
    assert server["files"]["model_config_file"]["text"] == CONFIG
    assert [(model["name"], model["versions_on_disk"]) for model in server["models"]] == [("digits", [1])]
    assert [(place["port"], place["kind"]) for place in server["listening"]] == [(9500, "grpc"), (9501, "rest")]
    assert (server["serves"], server["labels"], server["gpus"]) == (SERVED["serves"], {}, ["GPU-0a"])
    assert [each["name"] for each in found["launchers"]] == ["stopped-model"]
    assert "planted" not in json.dumps(found)


def test_nothing_is_asked_that_changes_anything(host, programs):
    survey(host, programs)
    asked = {" ".join(line.split()[:2]) for line in programs.asked}
    assert asked <= {
        "systemctl list-unit-files",
        "systemctl show",
        "docker ps",
        "docker inspect",
        "docker image",
        "podman ps",
    }


def test_a_host_without_servers_has_none(tmp_path):
    found = survey(Host(tmp_path), Programs({}))
    assert (found["servers"], found["launchers"], found["unread"]) == ([], [], [])


def test_a_process_that_ends_while_it_is_read_is_left_out_and_told(host, programs):
    def ends(_line):
        host.ends(10)
        return recorded("systemctl_show.txt")

    host.process(11, [SERVER, "--model_base_path=/srv/digits"], listening={8500: "00000000"})
    # By the time that it is read for good there is another.
    host.process(10, [SERVER], group="/system.slice/old-serving.service", started=1)
    known = collect.processes.servers
    first = known(host.tree)
    host.process(10, [SERVER], started=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect.processes, "servers", lambda _tree: first)
        found = survey(host, programs)
    assert [server["pid"] for server in found["servers"]] == [11]
    assert {"source": "process 10", "why": "the process 10 ended while it was read"} in found["unread"]


def test_a_runtime_that_does_not_answer_is_told_and_the_rest_is_there(host, programs):
    def hangs(_line):
        raise subprocess.TimeoutExpired("docker", 3)

    programs.answers["docker"] = hangs
    programs.answers["docker ps"] = hangs
    found = survey(host, programs)
    assert len(found["servers"]) == 1
    assert found["unread"] == [{"source": "docker launchers", "why": "it has not answered within 3 s"}]


def test_a_server_that_hangs_is_told_and_the_rest_is_there(host, programs, monkeypatch):
    monkeypatch.setattr(collect, "_ANSWERS_S", 0.0)
    never = threading.Event()
    means = collect.Means(host.tree, programs, lambda _arguments: None, lambda *_arguments: never.wait())
    first = collect.Wanted("host-a", 0.5)
    monkeypatch.setattr(collect.Unread, "gathered", _patiently(collect.Unread.gathered))
    found = collect.survey(first, means)
    never.set()
    (server,) = found["servers"]
    assert (server["serves"], server["labels"]) == (None, None)
    assert {"source": "process 10 serves", "why": "it has not answered within 0.5 s"} in found["unread"]


def _patiently(gathered):
    """Give all but the servers their time: what is tried is one that never answers."""
    return lambda self, works, seconds: gathered(self, works, seconds or 30.0)


def test_a_process_of_which_nothing_can_be_read_is_told(host, programs):
    for name in os.listdir(host.root / "proc/10/fd"):
        (host.root / "proc/10/fd" / name).unlink()
    found = survey(host, programs)
    assert {
        "source": "process 10",
        "why": "its variables, files and sockets cannot be read; survey as root, with become",
    } in found["unread"]


def test_a_damaged_model_config_file_is_told_with_its_text(host, programs):
    host.write("etc/models.config", "model_config_list {")
    (server,) = survey(host, programs)["servers"]
    assert (server["models"], server["files"]["model_config_file"]["text"]) == ([], "model_config_list {")


@pytest.mark.parametrize("seconds", [0, 3601])
def test_seconds_out_of_bounds_are_refused(seconds):
    with pytest.raises(WishError, match=f"seconds: {seconds} is out of bounds; write 1 to 3600"):
        collect.check({"host": None, "seconds": seconds})


PLANTED = "qz7planted7zq"
PLACES = st.sampled_from(["argv", "argv value", "environment", "config", "unit", "script", "container", "supervisor"])
NAMES = st.sampled_from(["password", "token", "api_key", "client_secret", "AWS_SECRET_ACCESS_KEY", "hf_token"])


@settings(max_examples=40, deadline=None)
@given(place=PLACES, name=NAMES)
def test_no_planted_secret_is_in_a_survey(place, name):
    with tempfile.TemporaryDirectory() as folder:
        assert PLANTED not in json.dumps(_planted(Host(Path(folder)), place, name))


def _planted(host, place, name):
    secret, flag = f"{name}={PLANTED}", f"--{name}"
    (host.root / "run/systemd/system").mkdir(parents=True)
    container = f"/docker/{'d' * 64}" if place == "container" else "/system.slice/old-serving.service"
    words = {"argv": [flag, PLANTED], "argv value": [f"{flag}={PLANTED}"]}.get(place, [])
    host.process(10, [SERVER, "--model_config_file=/etc/m", *words], group=container, environment=[secret])
    host.write("etc/m", f'# {secret}\nmodel_config_list {{ config {{ name: "m" base_path: "s3://u:{PLANTED}@b/m" }} }}')
    host.write("opt/old/bin/retired.sh", f"#!/bin/sh\nexport {secret}\nexec tensorflow_model_server {flag} {PLANTED}\n")
    host.write(
        "etc/supervisor/supervisord.conf", f"[program:x]\ncommand={SERVER} {flag} {PLANTED}\nenvironment={secret}\n"
    )
    shown = json.loads(recorded("docker_inspect_stopped.json"))
    shown[0]["Config"] |= {"Cmd": [SERVER, flag, PLANTED], "Env": [secret], "Labels": {name: PLANTED}}
    unit = recorded("systemctl_show.txt").replace("--port=9500", f"--port=9500 {flag} {PLANTED} {flag}={PLANTED}")
    programs = Programs(
        {
            "systemctl list-unit-files": recorded("systemctl_list.txt"),
            "systemctl show": unit.replace("ActiveState=active", "ActiveState=failed"),
            "docker ps": f"{'c' * 64}\n",
            "docker": json.dumps(shown),
            "podman ps": (1, "", f"cannot connect with {secret}"),
            "supervisorctl": (0, "", ""),
        }
    )
    return survey(host, programs)
