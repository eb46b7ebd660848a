# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The small parts of the runner: messages, results, exit codes, and what the terminal shows."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import in_force
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import codes, member, results, show, wire
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3), max_size=5), st.integers(1, 7))
def test_messages_arrive_whole_however_they_are_cut(messages, size):
    sent, lines = b"".join(map(wire.packed, messages)), wire.Lines()
    assert [each for at in range(0, len(sent), size) for each in lines.take(sent[at : at + size])] == messages


@pytest.mark.parametrize("data", [b"x\n", b"[]\n", b"[" * 100_000 + b"\n", b"x" * (wire.LONGEST + 1)])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        wire.Lines().take(data)


def keep(folder, number, version, **content):
    results.keep(folder, "plan", number, version, content)


def test_results_of_slices_are_joined_and_one_that_is_missing_leaves_the_others(tmp_path):
    keep(tmp_path, 1, "0.2.0", hosts={"a": 1}, missing=["x"])
    keep(tmp_path, 3, "0.2.0", hosts={"b": 2}, missing=[])
    assert results.merged(tmp_path, "plan", [1, 2, 3], "0.2.0") == {"hosts": {"a": 1, "b": 2}, "missing": ["x"]}
    assert results.merged(tmp_path, "plan", [2], "0.2.0") == {}


def test_a_record_of_another_version_is_refused(tmp_path):
    keep(tmp_path, 1, "0.1.0", hosts={})
    assert refusal(results.merged, tmp_path, "plan", [1], "0.2.0") == (
        "plan-1.json: is a record of tfserving.fleet 0.1.0, and this is 0.2.0; have one version in the collections "
        "path, and run it again"
    )


def test_of_the_records_of_hosts_other_slices_get_what_says_the_versions_in_force(tmp_path):
    model = {"name": "m", "versions": [1, 2], "serve": {"versions": [2]}, "protected": [], "memory_mb": 7}
    plan = {"instances": [{"name": "main", "models": ["m"], "cpus": "0-3"}], "models": [{**model, "source": "x"}]}
    record = {"plan": plan, "rollouts": {"m": {"age": 1, "old": [1], "reverted": []}}, "topology": {"cpus": 4}}
    results.keep(tmp_path, results.RECORDS, 1, "0.2.0", {"hosts": ["a"], "records": [record, {"plan": None}]})
    found = results.merged(tmp_path, results.RECORDS, [1], "0.2.0")
    assert "source" not in str(found)
    assert "topology" not in str(found)
    assert in_force.of_fleet(found["records"]) == in_force.of_fleet([record, {"plan": None}])
    assert in_force.of_fleet(found["records"])["in_force"]["m"]["versions"] == [2]


@pytest.mark.parametrize(
    ("found", "code"),
    [([0, 0], 0), ([0, 2], 2), ([2, 4], 6), ([1, 2], 3), ([2, 99], 99), ([250, 2], 250), ([-9, 0], 250), ([], 0)],
)
def test_the_exit_code_of_the_whole_is_what_ansible_playbook_would_end_with(found, code):
    assert codes.joined(found) == code


def test_the_report_names_each_host_once():
    hosts = [f"h{number}" for number in range(1, 9)]
    assert show.course(hosts, begun=["h1", "h2", "h3", "h4"], done=["h1", "h2"], failed=["h2", "h3"]) == (
        "done: 1 (h1)\nfailed: 2 (h[2:3])\nbegun, not finished: 1 (h4)\nnot begun: 4 (h[5:8])"
    )


def test_a_recap_adds_up_the_parts_and_shows_equal_hosts_in_one_row():
    one = {"ok": 3, "changed": 1, "unreachable": 0, "failures": 0, "rescued": 0, "skipped": 2}
    stats = show.counts([{"h1": one, "h2": one}, {"h3": one}, {"h3": {"ok": 1}}])
    assert show.recap(stats).splitlines() == [
        "h[1:2] : ok=3  changed=1  unreachable=0  failures=0  rescued=0  skipped=2",
        "h3     : ok=4  changed=1  unreachable=0  failures=0  rescued=0  skipped=2",
    ]


def test_a_refusal_of_many_hosts_is_shown_once():
    fatal = [(1, "h1", "it is wrong"), (2, "h2", "it is wrong\n"), (2, "h3", "it is worse")]
    assert show.refusals(fatal) == [("h[1:2]", "it is wrong"), ("h3", "it is worse")]


def test_what_a_slice_tells_acts_on_no_terminal():
    event = {"event": "fatal", "host": "h\x1b[2J", "task": "\x1b]0;x", "message": "one\ntwo\x1b[31m"}
    shown = show.event_line(65, "slice 1", event)
    assert shown.startswith("  1:05  slice 1  ")
    assert "\x1b" not in shown
    assert show.event_line(0, "slice 1", {"event": "stats"}) == ""


def test_only_a_child_of_the_runner_is_a_slice(monkeypatch):
    monkeypatch.delenv(member.ENVIRONMENT, raising=False)
    assert member.member(1) is None
    monkeypatch.setenv(member.ENVIRONMENT, "{}")
    assert member.member(1) is None
