# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be known before the host is touched is taken back, and says why it failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MODELS = "/var/lib/tfserving/models"
LAB = Path(os.environ["FLEET_CACHE"]) / "lab/www/models"

_FILES = [path for path in (LAB / "digits/1").rglob("*") if path.is_file()]
WHOLE = {str(path.relative_to(LAB / "digits/1")): path.read_bytes() for path in _FILES}
# Whole as far as anybody can tell; only the server finds out that there is no such op.
BROKEN = {**WHOLE, "saved_model.pb": WHOLE["saved_model.pb"].replace(b"MatMul", b"MatMux")}
CUT = {**WHOLE, "saved_model.pb": WHOLE["saved_model.pb"][:-100]}


def model(name: str, version: int, uri: str, **source) -> dict:
    return {"name": name, "version": version, "source": {"type": "path", "uri": uri, **source}}


@pytest.fixture
def with_second(known):
    """The wishes of a host that is to serve one more model beside the one it serves."""
    digits = {
        "name": "digits",
        "version": 1,
        "source": {"type": "path", "uri": str(LAB / "digits-1.tar.gz")},
        "probe": {"instances": known("digits")["request"]["instances"]},
    }
    return lambda second: {"tfserving_models": [digits, second]}


def test_a_corrupt_archive_leaves_no_trace(site, host, tmp_path, with_second):
    whole = (LAB / "digits-2.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    run = site(**with_second(model("second", 1, str(tmp_path / "cut.tar.gz"))))
    assert run.status != 0
    assert "tfserving_models[1]" in run.message
    assert host.run("ls -A %s/second", MODELS).stdout.strip() == ""


@pytest.mark.long
def test_an_archive_with_another_checksum_is_not_published(site, host, with_second):
    run = site(**with_second(model("second", 1, str(LAB / "digits-2.tar.gz"), sha256="0" * 64)))
    assert run.status != 0
    assert "tfserving_models[1].source.sha256" in run.message
    assert not host.file(f"{MODELS}/second/1").exists


def test_a_full_disk_leaves_what_was_there(site, host, with_second):
    host.check_output("mkdir -p %s/second", MODELS)
    host.check_output("mount -t tmpfs -o size=64k tmpfs %s/second", MODELS)
    try:
        run = site(**with_second(model("second", 1, str(LAB / "ranker-1.tar.gz"))))
        assert run.status != 0
        assert "free" in run.message
        assert host.run("ls -A %s/second", MODELS).stdout.strip() == ""
    finally:
        host.check_output("umount %s/second", MODELS)


def test_a_server_that_cannot_load_its_model_ends_with_its_own_words_and_the_old_configuration(
    site, host, main, archive, with_second
):
    before = host.file("/etc/tfserving/main/models.config").content
    broken = archive("broken", BROKEN)
    wishes = with_second(model("second", 1, broken))
    wishes["tfserving_instances"] = [
        {"name": "main", "models": ["digits", "second"], "environment": {"TF_CPP_MIN_LOG_LEVEL": "0"}}
    ]
    run = site(**wishes)
    assert run.status != 0
    assert "The last lines of instance main:" in run.message, run.output
    assert "The previous configuration is back in force: main serves as before this run." in run.message
    assert host.file("/etc/tfserving/main/models.config").content == before


def test_what_no_server_could_load_never_reaches_one(site, host, main, archive, with_second):
    run = site(**with_second(model("third", 1, archive("cut", CUT))))
    assert run.status != 0
    assert "tfserving_models[1].source" in run.message
    assert "its saved_model.pb is damaged" in run.message
    assert not host.file(f"{MODELS}/third/1").exists
    assert main.states("digits")["1"] == "AVAILABLE"


@pytest.mark.long
def test_a_broken_copy_that_is_mended_under_the_same_number_serves(site, main, archive, with_second):
    wishes = with_second(model("second", 1, archive("broken", BROKEN)))
    wishes["tfserving_models"][1]["probe"] = wishes["tfserving_models"][0]["probe"]
    wishes["tfserving_instances"] = [{"name": "main", "models": ["digits", "second"]}]
    assert site(**wishes).status != 0
    archive("broken", WHOLE)
    run = site(**wishes)
    assert run.status == 0, run.output
    assert "second: version 1 has never served and its source has other content; it is replaced" in run.message
    assert main.states("second") == {"1": "AVAILABLE"}
    assert not site(**wishes).changed
    run = site()
    assert run.status == 0, run.output


@pytest.mark.long
def test_without_a_record_of_the_plan_what_is_new_goes_and_what_serves_goes_on(site, host, main, archive, with_second):
    broken = archive("broken", BROKEN)
    # A share of the CPUs that is the same beside another instance: nothing of the new one concerns it.
    instances = [{"name": "main", "models": ["digits"], "cpus": 1}]
    run = site(tfserving_instances=instances)
    assert run.status == 0, run.output
    pid = main.pid
    host.check_output("mv /etc/tfserving/plan.json /root/plan.json")
    instances.append({"name": "extra", "models": ["third"], "cpus": 1})
    run = site(**with_second(model("third", 1, broken)), tfserving_instances=instances)
    host.check_output("mv /root/plan.json /etc/tfserving/plan.json")
    assert run.status != 0
    assert main.pid == pid
    assert main.states("digits") == {"1": "AVAILABLE"}
    assert host.run("systemctl is-active tfserving@extra.service").stdout.strip() != "active"
    assert not host.file("/etc/tfserving/extra").exists
    # On a line of its own, and the last one of the message.
    assert run.last_words == (
        "The previous configuration is back in force: main serves as before this run;"
        " extra was not there before this run: it is stopped and its files are gone."
    )
    # As the other tests expect it.
    run = site()
    assert run.status == 0, run.output


def test_a_model_root_that_the_server_cannot_see_is_no_success(site, host, main):
    """By a link: the plan refuses what the path itself says. The server goes on with what it has loaded."""
    pid = main.pid
    host.check_output("mkdir -p /home/ml && ln -sfn /home/ml /srv/models")
    run = site(tfserving_model_root="/srv/models")
    assert run.status != 0
    assert "instance main: it serves, but could not read /srv/models/digits/1 (" in run.message
    assert run.last_words == "The previous configuration is back in force: main serves as before this run."
    assert main.pid == pid


def test_a_rest_port_that_another_process_holds_is_noticed(site, host, with_second):
    host.check_output("systemd-run --unit=squatter python3 -m http.server 8601 --bind ::")
    try:
        run = site(tfserving_instances=[{"name": "main", "models": ["digits"], "ports": {"grpc": 8600, "rest": 8601}}])
        assert run.status != 0
        assert "8601" in run.message
        assert "python3" in run.message
    finally:
        host.run("systemctl stop squatter.service")


def test_after_all_that_a_plain_run_changes_nothing(site):
    run = site()
    assert run.status == 0, run.output
    assert not run.changed, run.output
