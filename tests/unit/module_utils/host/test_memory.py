# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host import memory

PAGES_A_MB = (1 << 20) // os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "statm").write_text(f"99999 {300 * PAGES_A_MB} 5 1 0 9 0\n")
    (tmp_path / "meminfo").write_text("MemTotal:  16384000 kB\nMemFree: 1024 kB\nMemAvailable:    2097152 kB\n")
    return tmp_path


def test_a_process_and_its_host(proc):
    assert memory.read(str(proc), 7) == {"rss_mb": 300.0, "available_mb": 2048.0}


@pytest.mark.parametrize("pid", [0, 8])
def test_without_a_process_the_host_alone(proc, pid):
    assert memory.read(str(proc), pid) == {"rss_mb": None, "available_mb": 2048.0}


@pytest.mark.parametrize("text", ["", "1", "1 x 2"])
def test_what_the_kernel_does_not_tell_is_none(proc, text):
    (proc / "7" / "statm").write_text(text)
    (proc / "meminfo").write_text("MemTotal: 5 kB\n")
    assert memory.read(str(proc), 7) == {"rss_mb": None, "available_mb": None}
