# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host without a network whose server is an image out of the bundle."""

from __future__ import annotations

import os
from pathlib import Path

testinfra_hosts = ["ansible://molecule-offline-image"]

BUNDLE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "bundle"


def test_the_host_has_no_way_to_any_network(host):
    assert host.check_output("ls /sys/class/net") == "lo"


def test_it_gives_the_known_answer(main, known):
    sample = known("digits")
    answer = main.predict("digits", sample["request"])["predictions"]
    assert [row["class_id"] for row in answer] == [row["class_id"] for row in sample["answers"]["1"]["predictions"]]


def test_the_server_runs_in_the_tree_of_the_image_that_the_bundle_holds(main):
    (layout,) = (BUNDLE / "images").glob("*/*")
    assert main.show("RootDirectory").startswith(f"/opt/tfserving/releases/serving@sha256-{layout.parent.name[:16]}")


def test_what_unpacks_the_image_came_with_the_bundle(host):
    assert host.package("umoci").is_installed
    assert list((BUNDLE / "packages").glob("**/umoci_*.deb"))


def test_the_servers_package_is_not_on_the_host(host):
    assert not host.package("tensorflow-model-server").is_installed
