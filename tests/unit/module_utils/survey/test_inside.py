# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A process's paths lead to its own files, whatever links a container has, and to those of the host that it shows."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.inside import Inside
from surveyed_host import SERVER, Host

# A container: its root is an overlay, and /srv/models of the host is mounted at /models.
MOUNTS = """1 0 0:99 / / rw - overlay overlay rw
2 1 8:1 /srv/models /models ro - ext4 /dev/sda1 rw
3 1 0:50 / /dev/shm rw - tmpfs shm rw
"""


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path / "host")
    made.write("etc/shadow", "of the host")
    made.write("srv/models/models.config", "text")
    return made


@pytest.fixture
def container(host):
    """The files of a process in a container whose root is another folder."""
    root = host.root / "var/lib/overlay/merged"
    (root / "etc").mkdir(parents=True)
    (root / "etc/own").write_text("own")
    (root / "models").symlink_to(host.root / "srv/models")
    host.process(10, [SERVER], root=root, mounts=MOUNTS, cwd="/etc")
    return Inside(host.tree, 10)


def test_a_relative_path_begins_at_the_working_directory(container):
    assert container.read("own", 100) == b"own"
    assert container.absolute("../models/x") == "/models/x"


@pytest.mark.parametrize("target", ["/etc/shadow", "../../../../../../etc/shadow", "loop"])
def test_a_link_of_a_container_leads_nowhere_outside(container, host, target):
    link = host.root / "var/lib/overlay/merged/etc/loop"
    link.symlink_to(target)
    with pytest.raises(OSError, match=r"No such file|Too many levels"):
        container.read("loop", 100)


def test_a_link_leads_where_the_process_comes_by_it(container, host):
    (host.root / "var/lib/overlay/merged/etc/link").symlink_to("/etc/own")
    assert container.read("/etc/link", 100) == b"own"
    assert container.read("/../../etc/own", 100) == b"own"


def test_a_pipe_is_not_waited_for(container, host):
    os.mkfifo(host.root / "var/lib/overlay/merged/etc/pipe")
    with pytest.raises(OSError, match="it is no file"):
        container.read("pipe", 100)


def test_a_file_beyond_the_limit_is_not_read(container):
    with pytest.raises(OSError, match="more than 2 bytes"):
        container.read("own", 2)


def test_the_host_has_what_is_mounted_from_it(host):
    mounts = "1 0 0:99 / / rw - overlay o rw\n2 1 8:1 /srv/models /models ro - ext4 d rw\n"
    root = host.root / "merged"
    root.mkdir()
    # What a bind mount is to the kernel, another name for the same file is here.
    (root / "models").mkdir()
    os.link(host.root / "srv/models/models.config", root / "models/models.config")
    host.process(20, [SERVER], root=root, mounts=mounts)
    inside = Inside(host.tree, 20)
    assert inside.on_host("/models/models.config") == "/srv/models/models.config"
    assert inside.shown_root == str(root)


def test_what_lies_in_the_image_alone_is_nowhere_on_the_host(container):
    assert container.on_host("/etc/own") is None


def test_a_process_of_the_host_has_the_paths_of_the_host(host):
    host.process(30, [SERVER], cwd="/srv")
    inside = Inside(host.tree, 30)
    assert (inside.shown_root, inside.on_host("models/models.config")) == ("/", "/srv/models/models.config")


def test_another_file_at_the_same_place_is_not_taken_for_it(host):
    root = host.root / "merged"
    (root / "srv/models").mkdir(parents=True)
    (root / "srv/models/models.config").write_text("another")
    host.process(40, [SERVER], root=root, mounts="1 0 0:99 / / rw - o o rw\n2 1 8:1 /srv /srv rw - ext4 d rw\n")
    assert Inside(host.tree, 40).on_host("/srv/models/models.config") is None
