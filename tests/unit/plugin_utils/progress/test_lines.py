# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lines of a run's progress, as people read them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.progress import lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.progress.stages import Stage

STAGE = Stage(3, 11, "Tune the kernel")
ACTING = "gpu\x1b[2J"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (5.9, "0:05"), (760, "12:40"), (3599.9, "59:59"), (3723, "1:02:03")]
)
def test_durations(seconds, text):
    assert lines.elapsed(seconds) == text


def test_a_stage_has_its_time_number_title_and_hosts():
    assert lines.stage_line(65, STAGE, "lab-[a:b]") == "  1:05  3/11  Tune the kernel: lab-[a:b]"
    assert lines.stage_line(65, STAGE, "") == "  1:05  3/11  Tune the kernel"


def test_stages_of_a_play_without_hosts_have_one_line():
    assert lines.passed_line(65, STAGE, STAGE) == "  1:05  3/11  Tune the kernel: no hosts"
    assert lines.passed_line(65, STAGE, Stage(5, 11, STAGE.title)) == "  1:05  3-5/11  Tune the kernel: no hosts"


@pytest.mark.parametrize(
    ("hosts", "before", "total", "text"),
    [
        ([], 0, 0, ""),
        (["gpu2", "gpu1"], 0, 2, "gpu[1:2]"),
        (["gpu3", "gpu4"], 2, 8, "gpu[3:4] (3-4 of 8 hosts)"),
        (["gpu8"], 7, 8, "gpu8 (8 of 8 hosts)"),
        ([f"{number}-of-a-rack.example.com" for number in (1, 3, 5)], 0, 3, "3 hosts"),
        ([ACTING], 0, 1, "gpu\\x1b[2J"),
    ],
)
def test_hosts_are_named_while_they_are_few(hosts, before, total, text):
    assert lines.batch(hosts, before, total) == text


def test_a_change_names_its_hosts_once():
    assert lines.changed_line("Install nftables", ["b2", "b1"]) == "        changed: Install nftables [b[1:2]]"


def test_a_refusal_is_whole_and_nothing_in_it_acts():
    text = lines.refusal("gpu1", "first\nsecond \x1b[2J\n")
    assert text == "fatal: [gpu1]: FAILED! => first\n    second \\x1b[2J"


def test_the_live_line_fits_its_terminal():
    whole = "3/11  Install nftables  2 of 8 hosts  since 09:12:44"
    assert lines.live_line(STAGE, "Install nftables", 2, 8, "09:12:44", 80) == whole
    assert lines.live_line(STAGE, "Install nftables", 2, 8, "09:12:44", 12) == whole[:11] + "…"
    assert lines.live_line(STAGE, "Ping", 0, 1, "09:12:44", 80) == "3/11  Ping  since 09:12:44"
    assert "\x1b" not in lines.live_line(STAGE, ACTING, 0, 1, "09:12:44", 80)
