# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs that are limited in time and in what they print."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.run import EndlessError, bounded
from patience import LONG_S

MOST = 100


def shell(script):
    return ["sh", "-c", script]


def test_a_program_gives_its_status_and_both_texts():
    assert bounded(shell("echo told; echo warned >&2; exit 3"), LONG_S, MOST) == (3, "told\n", "warned\n")


def test_a_program_that_is_not_installed_gives_nothing():
    assert bounded(["/nonexistent/program"], LONG_S, MOST) is None


@pytest.mark.parametrize("stream", [1, 2])
def test_a_program_that_prints_too_much_is_refused(stream):
    with pytest.raises(EndlessError):
        bounded(shell(f"yes >&{stream}"), LONG_S, MOST)


def test_the_end_of_a_long_text_is_kept_where_ends_are_enough():
    assert bounded(shell("seq 100000"), LONG_S, 13, ends=True) == (0, "99999\n100000\n", "")


def test_a_program_that_prints_for_ever_is_given_up_in_time():
    with pytest.raises(subprocess.TimeoutExpired):
        bounded(["yes"], 0.2, MOST, ends=True)


def test_a_program_that_closes_its_pipes_and_goes_on_is_given_up():
    with pytest.raises(subprocess.TimeoutExpired):
        bounded(shell(f"exec >&- 2>&-; sleep {LONG_S}"), 0.2, MOST)
