# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host without a network, installed from a bundle that another host has filled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://molecule-offline"]

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "bundle"
SENTENCE = "tfserving_fleet_bundle: {path} has the SHA-256"


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the bundle, which a test may spoil."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


def artifacts() -> list[dict]:
    return json.loads((BUNDLE / "manifest.json").read_text())["artifacts"]


def test_the_host_has_no_way_to_any_network(host):
    assert host.check_output("ls /sys/class/net") == "lo"
    assert host.check_output("ip route show table all | grep -v '^local\\|dev lo' || true") == ""


def test_it_gives_the_known_answer(main, known):
    sample = known("digits")
    answer = main.predict("digits", sample["request"])["predictions"]
    for given, expected in zip(answer, sample["answers"]["1"]["predictions"], strict=True):
        assert given["class_id"] == expected["class_id"]
        assert given["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)


def test_the_server_runs_on_jemalloc(main):
    assert "libjemalloc.so" in main.process("maps")


def test_a_package_that_was_named_can_be_installed_too(host):
    apt = "APT_CONFIG=/var/lib/tfserving-fleet/bundle/apt/apt.conf apt-get"
    host.check_output(f"{apt} install -y -q hello")
    assert host.check_output("hello") == "Hello, world!"
    host.check_output(f"{apt} purge -y -q hello")


def test_the_wished_version_is_installed_from_the_bundle_and_held(host):
    version = host.package("tensorflow-model-server").version
    assert version.startswith("2.19.1")
    assert any(f"tensorflow-model-server_{version}" in entry["path"] for entry in artifacts())
    assert host.check_output("apt-mark showhold") == "tensorflow-model-server"


def test_what_the_host_itself_knows_of_packages_is_as_it_was(host):
    now = host.check_output(
        "find /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /var/lib/apt/lists"
        " -type f ! -name tfserving.sources -exec sha256sum {} +"
    )
    assert sorted(now.splitlines()) == sorted(host.check_output("cat /root/apt-before").splitlines())


def test_the_bundle_does_not_depend_on_what_its_builder_has():
    names = {Path(entry["path"]).name.split("_")[0] for entry in artifacts()}
    # Every Debian has these, the builder too.
    assert {"libc6", "libstdc++6", "libjemalloc2", "gpgv", "openssl"} <= names


def test_the_manifest_says_where_everything_comes_from():
    origins = {entry["from"] for entry in artifacts()}
    assert "http://packages.lab/models/digits-1.tar.gz" in origins
    assert all(entry["from"] for entry in artifacts())


def test_making_the_bundle_again_changes_nothing():
    words = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "playbooks/bundle.yml"]
    settings = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    before = (BUNDLE / "manifest.json").read_text()
    run = subprocess.run(words, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "changed=0" in run.stdout.rpartition("molecule-builder")[2]
    assert (BUNDLE / "manifest.json").read_text() == before


def test_a_file_that_was_changed_is_refused_before_the_host_is(host, site, copy):
    state = "find /etc /opt /var/lib/tfserving /var/lib/tfserving-fleet -type f -printf '%p %T@ %s\\n' | sort"
    before = host.check_output(state)
    victim = next(path for path in sorted(copy.glob("packages/**/*")) if path.is_file())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    run = site(tfserving_fleet_bundle=str(copy))
    assert run.status != 0
    assert SENTENCE.format(path=victim.relative_to(copy)) in run.message
    assert not run.changed
    assert host.check_output(state) == before


def test_a_wish_that_the_bundle_does_not_meet_is_refused_by_its_name(site):
    run = site(tfserving_version="2.20.0")
    assert run.status != 0
    assert "tfserving_version: tensorflow-model-server 2.20.0 is not in the bundle for bookworm" in run.message
    assert not run.changed
