# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether HAProxy's lines reach the journal: by the socket that a process sees in its chroot."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import log_socket


@pytest.fixture
def log(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        yield str(tmp_path / "log")


def is_reached(tmp_path, log, root):
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/root").symlink_to(root)
    return log_socket.is_reached(7, tmp_path / "proc", log)


def test_without_a_chroot_it_is_the_hosts_own(tmp_path, log):
    assert is_reached(tmp_path, log, "/")


def test_in_a_chroot_it_is_what_lies_there(tmp_path, log):
    inside = tmp_path / f"jail{log}"
    inside.parent.mkdir(parents=True)
    os.link(log, inside)
    assert is_reached(tmp_path, log, tmp_path / "jail")


def test_somebody_elses_socket_is_none(tmp_path, log, monkeypatch):
    inside = tmp_path / f"jail{log}"
    inside.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        monkeypatch.chdir(inside.parent)
        other.bind("log")
        assert not is_reached(tmp_path, log, tmp_path / "jail")


def test_an_empty_chroot_and_a_process_that_is_gone_reach_none(tmp_path, log):
    (tmp_path / "jail").mkdir()
    assert not is_reached(tmp_path, log, tmp_path / "jail")
    assert not log_socket.is_reached(8, tmp_path / "proc", log)
    assert not log_socket.is_reached("", tmp_path / "proc", log)
