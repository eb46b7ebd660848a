# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What has started a server, by the records of real programs, and what is told where one does not answer."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import (
    containers,
    origins,
    processes,
    supervisor,
    systemd,
)
from surveyed_host import SERVER, SESSION, Host, Programs, recorded

DOCKER = json.loads(recorded("docker_inspect.json"))[0]["Id"]
PODMAN = json.loads(recorded("podman_inspect.json"))[0]["Id"]
SHOW = "systemctl show"
CONFIGURATION = """[supervisord]
logfile=/x ; a comment
[include]
files = conf.d/*.conf
"""
PROGRAM = f"""[program:old-supervised]
command={SERVER} --port=9610 --token=planted-secret
environment=AWS_SECRET_ACCESS_KEY="planted-secret",TF_CPP_MIN_LOG_LEVEL="1"
stopwaitsecs=60
[program:never]
command=tensorflow_model_server --port=1
autostart=false
[program:web]
command=/usr/bin/web
"""


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.write("etc/supervisor/supervisord.conf", CONFIGURATION)
    made.write("etc/supervisor/conf.d/old.conf", PROGRAM)
    return made


def origin(host, pid, **answers):
    server = processes.server(host.tree, pid)
    return origins.of(
        origins.Asking(host.tree, Programs({key.replace("_", " "): value for key, value in answers.items()})), server
    )


@pytest.mark.parametrize(
    "group", [f"/docker/{DOCKER}", f"/system.slice/docker-{DOCKER}.scope", f"/docker/{DOCKER}/sub"]
)
def test_a_container_of_compose_is_told_by_project_and_service(host, group):
    host.process(10, [SERVER], group=group)
    answers = {"docker_inspect": recorded("docker_inspect.json"), "docker_image": recorded("docker_image_inspect.json")}
    row = origin(host, 10, **answers).row
    assert (row["kind"], row["name"]) == ("compose", "scores/model")
    assert row["container"] == {
        "id": DOCKER,
        "name": "scores-model-1",
        "image": "tensorflow/serving:latest",
        "digest": None,
        "tag_floating": True,
        "privileged": False,
        "restart": "unless-stopped",
        "ports": [
            {"host_ip": "0.0.0.0", "host_port": 32771, "port": 8500},
            {"host_ip": "::", "host_port": 32769, "port": 8500},
            {"host_ip": "127.0.0.1", "host_port": 32770, "port": 8501},
        ],
        "mounts": [{"source": "/srv/models", "target": "/models", "read_only": True}],
        "entrypoint": ["/bin/bash"],
        "command": ["-c", "exec -a tensorflow_model_server sleep 100000"],
        "healthcheck": ["CMD-SHELL", "curl -f http://localhost:8501/v1/models/digits"],
        "cpus_quota": 1.5,
        "memory_mb": 512,
        "gpus": None,
        "network": "default",
        "auto_remove": False,
        "compose": {"project": "scores", "service": "model", "files": ["/srv/scores/docker-compose.yml"]},
    }
    assert "planted" not in json.dumps(row)


def test_a_container_of_podman_is_told_with_the_digest_of_its_image(host):
    host.process(11, [SERVER], group=f"/machine.slice/libpod-{PODMAN}.scope/container")
    row = origin(host, 11, podman_inspect=recorded("podman_inspect.json")).row
    container = row["container"]
    assert (row["kind"], row["name"], container["restart"]) == ("podman", "old-podman", "always")
    assert (container["image"], container["tag_floating"]) == ("docker.io/tensorflow/serving:2.19.1", False)
    assert container["digest"] == "sha256:4890179a0f797e6eb906c4f9ac8a4efe50c8f2648a88c075143121e7eb9f850b"
    assert container["entrypoint"] == ["/usr/bin/tf_serving_entrypoint.sh"]
    assert container["mounts"][0] == {"source": "/srv/models", "target": "/models", "read_only": True}
    assert "planted" not in json.dumps(row)


def hangs(_line):
    raise subprocess.TimeoutExpired("docker", 3)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (hangs, "it has not answered within 3 s"),
        (
            (1, "", "Cannot connect to the Docker daemon"),
            "docker ended with code 1: Cannot connect to the Docker daemon",
        ),
        (None, "docker is not installed"),
        ("[]", "docker does not know the container"),
        ("{", "Expecting property name"),
        ('[{"Id": 1}]', "docker answers with something else than containers"),
    ],
)
def test_a_runtime_that_does_not_answer_is_told_and_the_container_named_by_its_id(host, answer, why):
    host.process(12, [SERVER], group=f"/docker/{DOCKER}")
    found = origin(host, 12, **({"docker_inspect": answer} if answer else {}))
    assert why in found.why
    assert (found.row["kind"], found.row["name"], found.row["container"]) == ("docker", DOCKER[:12], None)


def test_a_container_of_a_user_is_told_as_one(host):
    group = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{PODMAN}.scope/container"
    host.process(12, [SERVER], group=group)
    found = origin(host, 12, podman_inspect=(125, "", "no such container"))
    assert found.why.startswith("it is a container of the user 1000; ")


def test_a_container_of_another_runtime_is_not_asked_for(host):
    host.process(13, [SERVER], group=f"/kubepods/burstable/pod1/cri-containerd-{'b' * 64}.scope")
    found = origin(host, 13)
    assert (found.row["kind"], found.row["name"]) == ("by_hand", f"container-{'b' * 12}")
    assert "neither Docker nor Podman" in found.why


def test_of_containers_in_each_other_the_inner_one_counts():
    group = f"/docker/{'a' * 64}/machine.slice/libpod-{'b' * 64}.scope"
    assert containers.container_of(group) == ("podman", "b" * 64)
    assert containers.container_of("/system.slice/old.service") is None


def test_the_unit_that_starts_a_container_is_told_too(host):
    host.process(14, [SERVER], group=f"/machine.slice/libpod-{PODMAN}.scope")
    shown = json.loads(recorded("podman_inspect.json"))
    shown[0]["Config"]["Labels"] = {"PODMAN_SYSTEMD_UNIT": "old-serving.service"}
    found = origin(host, 14, podman_inspect=json.dumps(shown), systemctl_show=recorded("systemctl_show.txt"))
    assert (found.unit, found.row["unit"]["enabled"]) == ("old-serving.service", True)


def test_the_unit_that_runs_the_client_of_docker_is_found_by_its_process(host):
    host.process(15, [SERVER], group=f"/docker/{DOCKER}")
    host.process(
        16, ["/usr/bin/docker", "run", "--rm", "--name=scores-model-1", "x"], group="/system.slice/old-serving.service"
    )
    answers = {"docker_inspect": recorded("docker_inspect.json"), "systemctl_show": recorded("systemctl_show.txt")}
    assert origin(host, 15, **answers).unit == "old-serving.service"


def test_a_unit_is_told_by_the_group_of_its_process(host):
    host.process(17, [SERVER], group="/system.slice/old-serving.service")
    row = origin(host, 17, systemctl_show=recorded("systemctl_show.txt")).row
    assert (row["kind"], row["name"]) == ("systemd", "old-serving.service")
    assert row["unit"] == {
        "Restart": "on-failure",
        "User": "nobody",
        "ExecStart": "/opt/old/bin/tensorflow_model_server --port=9500 --rest_api_port=9501"
        " --model_config_file=models.config --allow_version_labels_for_unavailable_models=true",
        "TimeoutStopSec": "20s",
        "FragmentPath": "/etc/systemd/system/old-serving.service",
        "DropInPaths": [],
        "enabled": True,
        "state": "active",
    }


@pytest.mark.parametrize(
    "group",
    [
        SESSION,
        "/system.slice/cron.service",
        "/system.slice/ssh.service",
        "/system.slice/rc-local.service",
        "/user.slice/user@1000.service/app.slice/x.service",
        "/",
    ],
)
def test_what_runs_in_a_session_or_beside_a_service_was_started_by_hand(host, group):
    host.process(18, [SERVER, "--port=1", "--port=9000"], group=group)
    row = origin(host, 18).row
    assert (row["kind"], row["name"]) == ("by_hand", "tensorflow_model_server-9000")


def test_a_secret_with_blanks_in_a_unit_is_hidden_to_its_end():
    shown = {"ExecStart": "{ path=/x ; argv[]=/x --password=a b c --port=1 --token d e ; ignore_errors=no ; pid=1 }"}
    assert systemd.command(shown) == "/x --password=*** --port=1 --token ***"


def test_restarts_of_a_unit_do_not_change_what_it_is_defined_by():
    shown = systemd.show(lambda _arguments: recorded("systemctl_show.txt"), ["old-serving.service"])[
        "old-serving.service"
    ]
    again = {**shown, "ExecStart": shown["ExecStart"].replace("pid=2890", "pid=7"), "MainPID": "7"}
    assert systemd.definition(again) == systemd.definition(shown)
    changed = {**shown, "ExecStart": shown["ExecStart"].replace("--port=9500", "--port=9999")}
    assert systemd.definition(changed) != systemd.definition(shown)


@pytest.fixture
def supervised(host):
    daemon = ["/usr/bin/python3", "/usr/bin/supervisord", "-n", "-c", "/etc/supervisor/supervisord.conf"]
    host.process(20, daemon, comm="supervisord", group="/system.slice/supervisor.service")
    host.process(1558, ["/bin/sh", "wrapper"], ppid=20, group="/system.slice/supervisor.service")
    host.process(1559, [SERVER, "--port=9610"], ppid=20, group="/system.slice/supervisor.service")
    return host


def test_a_program_of_supervisord_is_told_with_its_section(supervised):
    # It ends with 3 because a program does not run.
    row = origin(supervised, 1559, supervisorctl=(3, recorded("supervisorctl_status.txt"), "")).row
    assert (row["kind"], row["name"]) == ("supervisor", "old-supervised")
    assert row["supervisor"] == {
        "configuration": "/etc/supervisor/supervisord.conf",
        "file": "/etc/supervisor/conf.d/old.conf",
        "state": "RUNNING",
        "command": f"{SERVER} --port=9610 --token=***",
        "user": "root",
        "directory": "",
        "autostart": True,
        "autorestart": "unexpected",
        "stopsignal": "TERM",
        "stopwaitsecs": "60",
        "environment": ["AWS_SECRET_ACCESS_KEY", "TF_CPP_MIN_LOG_LEVEL"],
    }


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            (4, "unix:///run/supervisor.sock no such file\n", ""),
            "supervisord does not answer: unix:///run/supervisor.sock",
        ),
        ((0, "error: <class 'ConnectionRefusedError'>\n", ""), "supervisord does not answer: error:"),
        (None, "supervisorctl is not installed"),
    ],
)
def test_a_supervisord_that_does_not_answer_is_told(supervised, answer, why):
    supervised.write("proc/1559/environ", "SUPERVISOR_PROCESS_NAME=old-supervised\0")
    found = origin(supervised, 1559, **({"supervisorctl": answer} if answer else {}))
    assert why in found.why
    assert (found.row["kind"], found.row["name"]) == ("supervisor", "old-supervised")


def test_supervisorctl_is_not_run_with_a_configuration_of_others(supervised):
    (supervised.root / "etc/supervisor/supervisord.conf").chmod(0o666)
    run = Programs({"supervisorctl": recorded("supervisorctl_status.txt")})
    with pytest.raises(RuntimeError, match="may be written by others than root"):
        supervisor.status(run, supervised.tree, "/etc/supervisor/supervisord.conf")
    assert run.asked == []


def test_a_damaged_configuration_shows_none_of_its_lines(supervised):
    supervised.write("etc/supervisor/supervisord.conf", "password=planted-secret\n")
    with pytest.raises(ValueError, match="is no configuration of supervisord") as error:
        supervisor.programs(supervised.tree, "/etc/supervisor/supervisord.conf")
    assert "planted" not in str(error.value)


def test_stopped_programs_of_supervisord_that_would_serve_are_launchers(supervised):
    path = "/etc/supervisor/supervisord.conf"
    found = supervisor.programs(supervised.tree, path)
    states = {"never": ("STOPPED", 0), "old-supervised": ("RUNNING", 1559), "web": ("STOPPED", 0)}
    (launcher,) = supervisor.launchers(supervised.tree, found, states, path)
    assert (launcher["name"], launcher["argv"]) == ("never", ["tensorflow_model_server", "--port=1"])


@pytest.mark.parametrize("name", ["model", "model:model_00", "group:model", "model:model"])
def test_a_process_of_supervisord_is_known_by_any_of_its_names(name):
    program = supervisor.Program("model", "x", {})
    assert supervisor.program_of([supervisor.Program("other", "x", {}), program], name) == program


def test_stopped_units_whose_script_would_serve_are_launchers(host):
    host.write(
        "opt/old/bin/retired.sh",
        "#!/bin/sh\nexport DB_PASSWORD=planted-secret\nexec tensorflow_model_server --port=1\n",
    )
    answers = Programs(
        {"systemctl list-unit-files": recorded("systemctl_list.txt"), "systemctl show": recorded("systemctl_show.txt")}
    )
    (launcher,) = systemd.launchers(host.tree, origins.Asking(host.tree, answers).ask)
    assert (launcher["kind"], launcher["name"], launcher["unit"]["state"]) == (
        "systemd",
        "retired-serving.service",
        "inactive",
    )
    assert "DB_PASSWORD=***" in launcher["text"]
    # Templates have no properties, and nobody asks for them.
    assert "getty@.service" not in "".join(answers.asked)


def test_stopped_containers_that_would_serve_are_launchers():
    answers = Programs({"docker ps": f"{'c' * 64}\n", "docker inspect": recorded("docker_inspect_stopped.json")})
    (launcher,) = containers.launchers(origins.Asking(None, answers).ask, "docker")
    assert (launcher["kind"], launcher["name"]) == ("docker", "stopped-model")
    assert launcher["argv"] == [
        *("tensorflow_model_server", "--rest_api_port=8501", "--model_name=digits", "--model_base_path=/models/digits"),
    ]
    container = launcher["container"]
    assert (container["privileged"], container["gpus"]) == (True, ["all"])
    assert container["ports"] == [{"host_ip": "0.0.0.0", "host_port": 9501, "port": 8501}]


@pytest.mark.parametrize(
    ("image", "floats"),
    [
        ("tensorflow/serving", True),
        ("tensorflow/serving:latest-gpu", True),
        ("tensorflow/serving:2.19", True),
        ("tensorflow/serving:2.19.1-gpu", False),
        ("localhost:5000/serving", True),
        ("localhost:5000/serving:2.19.1", False),
        (f"tensorflow/serving@sha256:{'a' * 64}", False),
        ("a03a3b106ede", False),
    ],
)
def test_a_tag_floats_unless_it_names_a_whole_version_or_a_digest(image, floats):
    assert containers.tag_floating(image) is floats


def test_the_second_container_of_a_service_has_a_name_of_its_own():
    shown = json.loads(recorded("docker_inspect.json"))[0]
    shown["Config"]["Labels"]["com.docker.compose.container-number"] = "2"
    assert containers.name_of(shown) == "scores/model/2"
