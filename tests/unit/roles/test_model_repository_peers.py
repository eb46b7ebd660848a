# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Three hosts copy a version from each other, by the whole role; systemd-run is a double that starts the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml
from archive_files import read_tree, write_tree
from ports import free_port
from running import run_playbook
from saved_models import MODEL

STARTS = """#!/bin/sh
for each in "$@"; do
    case "$each" in --property=StandardInput=*) offer=${each#*=file:};; esac
done
while [ "$1" != -- ]; do shift; done
shift 2
echo >> FOLDER/started
PYTHON "$@" < "$offer" > FOLDER/holder 2>&1 &
echo $! > FOLDER/pid
until grep -q "^tfserving-peer: offers at " FOLDER/holder; do sleep 0.1; done
"""
# Each holder is gone before its reader comes, the first time.
DIES = (
    STARTS
    + """[ "$(wc -l < FOLDER/started)" != 1 ] || kill "$(cat FOLDER/pid)"
"""
)
ENDS = """#!/bin/sh
kill "$(cat FOLDER/pid)" 2> /dev/null
"""
FAILS = """#!/bin/sh
echo "no bus" >&2
exit 1
"""
LARGE = {**MODEL, "assets/large": bytes(range(256)) * 10_000}


class Fleet:
    """Three hosts, which are directories of this one, each with an address of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        write_tree(folder / "export", LARGE)
        local = {"ansible_connection": "local", "model_repository_peer_port": free_port()}
        hosts = {name: {"ansible_host": f"127.0.0.{at}"} for at, name in enumerate("abc", 11)}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": local, "hosts": hosts}}))
        source = {"type": "path", "uri": str(folder / "export")}
        plan = {
            "paths": {"models": f"{folder}/hosts/{{{{ inventory_hostname }}}}"},
            "instances": [],
            "models": [{"name": "ranker", "versions": [7], "source": source}],
        }
        me = {"model_repository_owner": str(os.geteuid()), "model_repository_group": str(os.getegid())}
        settings = {**me, "model_repository_min_free_mb": 0, "model_repository_peers": "always"}
        role = {"name": "Publish", "ansible.builtin.include_role": {"name": "tfserving.fleet.model_repository"}}
        tasks = [{"name": "Plan", "ansible.builtin.set_fact": {"tfserving_plan": plan}}, {**role, "vars": settings}]
        play = {"name": "Publish", "hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
        (folder / "play.yml").write_text(yaml.safe_dump([play]))

    def double(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(script.replace("FOLDER", str(self.folder)).replace("PYTHON", sys.executable))
        path.chmod(0o755)

    def run(self, *options: str) -> str:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = run_playbook(self.folder, "-i", "hosts.yml", "play.yml", "-v", *options, PATH=path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def publish(self) -> dict[str, dict[str, bytes]]:
        return {name: read_tree(self.folder / "hosts" / name / "ranker" / "7") for name in "abc"}


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    return Fleet(tmp_path)


@pytest.mark.skipif(not os.access("/run", os.W_OK), reason="offers are kept below /run")
def test_a_version_spreads_in_waves_and_the_next_run_has_nothing_to_do(fleet):
    fleet.double("systemd-run", STARTS)
    fleet.double("systemctl", ENDS)
    first = fleet.run()
    assert "2 waves, about 1 s, after the controller has sent 2.56 MB, not 7.68 MB" in first
    assert first.count('"complete": true') == 4
    assert fleet.publish() == dict.fromkeys("abc", LARGE)
    assert (fleet.folder / "started").read_text() == "\n\n"
    assert not Path("/run/tfserving-peer").exists()
    again = fleet.run()
    assert "Run the waves" not in again
    assert again.count("changed=0 ") == 3


def test_a_check_says_what_to_expect_and_copies_nothing(fleet):
    shown = fleet.run("--check")
    assert "2 waves, about 1 s, after the controller has sent 2.56 MB, not 7.68 MB" in shown
    assert not (fleet.folder / "hosts").exists()


def test_a_host_that_is_no_address_is_named_and_the_others_copy_without_it(fleet):
    shown = fleet.run("--check", "-e", '{"model_repository_peer_address": "gpu-1.example.com"}')
    assert shown.count("gpu-1.example.com is no address; set model_repository_peer_address") == 3
    assert "the controller has sent" not in shown


@pytest.mark.skipif(not os.access("/run", os.W_OK), reason="offers are kept below /run")
def test_a_reader_whose_holder_dies_gets_the_version_in_the_next_wave(fleet):
    fleet.double("systemd-run", DIES)
    fleet.double("systemctl", ENDS)
    shown = fleet.run()
    assert "the transfer broke off: Connection refused" in shown
    assert "no host is left" not in shown
    assert (fleet.folder / "started").read_text() == "\n\n\n"
    assert fleet.publish() == dict.fromkeys("abc", LARGE)
    assert not [*Path("/run/tfserving-peer-jobs").iterdir()]


def test_hosts_that_get_nothing_from_others_get_it_from_the_controller(fleet):
    fleet.double("systemd-run", FAILS)
    shown = fleet.run()
    assert '"b": "no host is left to copy from"' in shown
    assert fleet.publish() == dict.fromkeys("abc", LARGE)
