# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether anybody calls an old server: by what its connections have carried lately, in its own network."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import idle

QUIET = "0 0 10.0.0.5:8500 10.0.0.9:40000\n\t cubic lastsnd:90000 lastrcv:90000\n"
BUSY = "0 0 10.0.0.5:8500 10.0.0.8:40001\n\t cubic lastsnd:10 lastrcv:10\n"
WANTED = idle.Wanted(1, (8500,), 30.0, 5)


def answers(*texts):
    """Return what stands in for ss, an answer a call."""
    left = list(texts)
    return lambda _command: (0, left.pop(0) if len(left) > 1 else left[0], "")


def test_a_quiet_connection_carries_no_call():
    assert idle.wait(WANTED, answers(QUIET), None) == {"idle": True, "callers": [], "connections": 1}


def test_it_waits_until_the_last_caller_is_quiet():
    pauses = []
    assert idle.wait(WANTED, answers(BUSY + QUIET, BUSY, QUIET), pauses.append)["idle"]
    assert len(pauses) == 2


def test_callers_that_stay_are_named():
    found = idle.wait(WANTED, answers(BUSY + QUIET), lambda _seconds: None)
    assert found == {"idle": False, "callers": ["10.0.0.8"], "connections": 2}


def test_a_server_that_has_ended_is_told():
    with pytest.raises(WishError, match="its connections cannot be read"):
        idle.wait(WANTED, lambda _command: (1, "", "nsenter: cannot open /proc/1/ns/net"), None)


def test_this_process_can_be_looked_at():
    assert idle.wait(idle.Wanted(os.getpid(), (1,), 30.0, 0), idle.inside(os.getpid()), None)["idle"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seconds": 9999}, "seconds: 9999 is out of bounds; write 0 to 3600"),
        ({"ports": []}, "ports: is empty; name the ports of the server"),
    ],
)
def test_options_that_cannot_be_are_refused(given, says):
    with pytest.raises(WishError) as caught:
        idle.check({"pid": 1, "ports": [1], "longest_call_s": 30, "seconds": 1, **given})
    assert str(caught.value) == says
