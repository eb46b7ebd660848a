# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who takes no part in a run, and the sentence that each of them gets."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet.answers import judge

FREE = {"changed": False, "refusal": ""}
LOST = {"unreachable": True, "msg": "no route"}
ANSWERS = {"a": FREE, "c": LOST, "b": LOST}


def refusal(answers, pattern="tfserving", leave_out=False):
    with pytest.raises(WishError) as caught:
        judge(answers, pattern, leave_out)
    return str(caught.value)


def test_hosts_that_cannot_be_reached_are_named_with_both_ways_on():
    assert refusal(ANSWERS) == (
        "b, c: cannot be reached, and nothing has been changed on any host; fix that, leave them out with "
        "--limit 'tfserving:!b:!c', or set fleet_unreachable: leave_out"
    )
    assert "--limit 'x:y:!b:!c'" in refusal(ANSWERS, ["x", "y"])


@pytest.mark.parametrize("leave_out", [False, True])
def test_a_run_that_reaches_nobody_is_refused(leave_out):
    nobody = "b: no host of this run can be reached; see the messages above"
    assert refusal({"b": LOST}, leave_out=leave_out) == nobody


def test_a_run_goes_on_without_hosts_that_it_can_spare_even_without_all_of_them():
    left_out = {"b": "b: cannot be reached; this run leaves it out"}
    assert judge({"b": LOST}, "tfserving_monitoring", False, spare=True)["left_out"] == left_out


def test_a_run_goes_on_without_a_host_that_it_can_spare_and_another_run_has():
    judged = judge({"b": {"refusal": "b: bob is changing this host"}}, "tfserving_monitoring", False, spare=True)
    assert judged["refused"] == {}
    assert judged["left_out"] == {"b": "b: bob is changing this host"}


def test_a_run_goes_on_where_everybody_answers():
    assert judge({"a": FREE, "b": FREE}, "tfserving", False) == {"refused": {}, "left_out": {}, "summary": ""}


def test_a_run_that_goes_on_without_hosts_says_so_at_once_and_at_its_end():
    judged = judge(ANSWERS, "tfserving", True)
    assert judged["refused"] == {}
    assert judged["left_out"] == {host: f"{host}: cannot be reached; this run leaves it out" for host in "cb"}
    assert judged["summary"] == (
        "c, b: could not be reached and were left out (fleet_unreachable); nothing is changed there. Run again with"
        " --limit 'c:b' when that is fixed."
    )
    assert " and was left out " in judge({"a": FREE, "b": LOST}, "tfserving", True)["summary"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"refusal": "a: bob is changing this host"}, "a: bob is changing this host"),
        ({"failed": True, "msg": "no Python here"}, "no Python here"),
        ({"failed": True}, "a: gave no answer; see the messages above"),
    ],
)
def test_a_host_that_is_locked_or_says_nothing_of_its_lock_is_refused(answer, sentence):
    assert judge({"a": answer, "b": FREE}, "tfserving", False)["refused"] == {"a": sentence}
