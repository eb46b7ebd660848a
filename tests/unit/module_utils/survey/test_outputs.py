# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The log of a server and whether something rotates it, and its release without a run of its program."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import containers, outputs
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.inside import Inside
from surveyed_host import SERVER, Host


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    made.process(10, [SERVER])
    return made


def logging(host, stream=2, path="var/log/tf/serving.log"):
    host.write(path, "")
    file = str(host.root / path)
    host.link(f"proc/10/fd/{stream}", file)
    return file


def log(host):
    return outputs.log(host.tree, Inside(host.tree, 10))


@pytest.mark.parametrize("stream", [1, 2])
def test_a_file_that_nothing_rotates_is_told(host, stream):
    path = logging(host, stream)
    assert log(host) == {"path": path, "rotated": False}


def test_what_logs_to_the_journal_a_pipe_or_a_terminal_has_no_file(host):
    assert log(host) is None
    host.link("proc/10/fd/1", "socket:[4711]")
    host.link("proc/10/fd/2", "/dev/null")
    assert log(host) is None


@pytest.mark.parametrize(
    ("content", "rotated"),
    [
        ("{path} {{\n  weekly\n}}\n", True),
        ('"{path}" /var/log/other.log {{\n}}\n', True),
        ("/var/log/other.log {path}\n{{\n  copytruncate\n}}\n", True),
        ("{folder}/*.log {{ daily }}\n", True),
        ("{folder}/*.txt {{ daily }}\n", False),
        ("/var/*.log {{ daily }}\n", False),
        ("# {path} {{ daily }}\n", False),
        ("x {{\n  postrotate\n    touch {path}\n  endscript\n}}\n", False),
    ],
)
def test_sections_of_logrotate_tell_whether_it_is_rotated(host, content, rotated):
    path = logging(host)
    folder = path.rpartition("/")[0]
    host.write("etc/logrotate.d/serving", content.format(path=path, folder=folder))
    assert log(host) == {"path": path, "rotated": rotated}


def asked(answers):
    def ask(arguments):
        answer = answers.get(arguments[1])
        if answer is None:
            raise RuntimeError("dpkg-query ended with code 1: no path found matching pattern")
        return answer

    return ask


def test_the_release_is_that_of_the_package(host):
    ask = asked({"--search": f"tensorflow-model-server: {SERVER}\n", "--show": "2.15.1"})
    assert outputs.version(ask, host.tree, Inside(host.tree, 10)) == "2.15.1"


@pytest.mark.parametrize("ask", [asked({}), lambda _arguments: None])
def test_a_program_of_no_package_has_no_known_release(host, ask):
    assert outputs.version(ask, host.tree, Inside(host.tree, 10)) == ""


def test_packages_of_the_host_say_nothing_of_a_container(host, tmp_path):
    host.process(11, [SERVER], root=tmp_path / "inner")
    ask = asked({"--search": f"tensorflow-model-server: {SERVER}\n", "--show": "2.15.1"})
    assert outputs.version(ask, host.tree, Inside(host.tree, 11)) == ""


def test_an_image_tells_the_release_that_upstream_has_written_into_it(host):
    row = {"Id": "c" * 64, "Name": "/tfs", "HostConfig": {}}
    labels = {"tensorflow_serving_github_branchtag": "2.14.1"}
    shown = {**row, "Config": {"Image": "registry.example/own:latest", "Labels": labels}}
    assert containers.described(lambda _arguments: None, "docker", shown)["release"] == "2.14.1"
