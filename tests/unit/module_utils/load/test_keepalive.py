# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Load ends when nobody watches it any more."""

from __future__ import annotations

import os
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import keepalive
from patience import LONG_S

NOW = 1_700_000_000.0


@pytest.fixture
def alive(tmp_path):
    file = tmp_path / keepalive.NAME
    file.touch()
    os.utime(file, (NOW, NOW))
    return file


def test_a_file_that_is_touched_keeps_load_alive(alive):
    assert not keepalive.is_left(alive, NOW + keepalive.PATIENCE_S)


def test_a_file_that_is_old_or_gone_does_not(alive):
    assert keepalive.is_left(alive, NOW + keepalive.PATIENCE_S + 1)
    alive.unlink()
    assert keepalive.is_left(alive, NOW)


def test_the_program_is_ended_once_it_is_left(alive):
    os.utime(alive)
    ended = threading.Event()
    keepalive.watch(alive.parent, ended.set, lambda _seconds: alive.unlink())
    assert ended.wait(LONG_S)


def test_the_key_of_the_caller_goes_too(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    alive, key, ended = out / keepalive.NAME, tmp_path / keepalive.KEY, threading.Event()
    for file in (alive, key):
        file.touch()
    keepalive.watch(out, ended.set, lambda _seconds: alive.unlink())
    assert ended.wait(LONG_S)
    assert not key.exists()


def test_who_runs_the_program_by_hand_is_left_alone(tmp_path):
    before = threading.active_count()
    keepalive.watch(tmp_path, pytest.fail)
    assert threading.active_count() == before
