# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The calls of both arms out of HAProxy's log lines: which count, which are errors, and which lines are none."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import calls, log_socket
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.journal import Entry, Read
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import samples
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

FIELDS = {
    "protocol": "rest",
    "from": "10.0.0.9",
    "caller": "-",
    "model": "ranker",
    "version": "-",
    "label": "-",
    "call": "predict",
    "arm": "canary",
    "backend": "rest_ranker_canary",
    "server": "gpu-a.ranker",
    "status": "200",
    "grpc": "-",
    "end": "----",
    "retries": "0",
    "request_ms": "0",
    "queue_ms": "0",
    "connect_ms": "0",
    "reply_ms": "3",
    "total_ms": "3",
    "in": "400",
    "out": "80",
}


def line(**changes):
    return "tfserving " + " ".join(f"{key}={value}" for key, value in {**FIELDS, **changes}.items())


def entries(*lines):
    return [Entry(each, f"s=1;i={number}") for number, each in enumerate(lines, 1)]


def counts_of(*lines, slow_ms=100.0):
    counts = {arm: dict.fromkeys(calls.COUNTERS, 0) for arm in calls.ARMS}
    calls.count(entries(*lines), "ranker", slow_ms, counts, {})
    return counts


def seen(**changes):
    counted = counts_of(line(**changes))["canary"]
    return counted["calls"], counted["errors"], counted["slow"]


def test_the_fields_are_those_that_the_gateway_writes():
    template = (REPOSITORY / "roles/gateway/templates/host/etc/haproxy/haproxy.cfg.j2").read_text(encoding="utf-8")
    (written,) = re.findall(r"set log_format = '([^']+)'", template)
    assert [word.partition("=")[0] for word in written.split(" ")] == list(FIELDS)[1:]
    assert "log-format 'tfserving protocol={{ frontend.protocol }} {{ log_format }}" in template


def test_counters_are_those_that_a_verdict_reads():
    assert (calls.COUNTERS, calls.ARMS) == (samples.COUNTERS, samples.ARMS)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, (1, 0, 0)),
        ({"total_ms": "101"}, (1, 0, 1)),
        ({"total_ms": "100"}, (1, 0, 0)),
        ({"status": "400"}, (1, 1, 0)),
        ({"status": "503", "end": "SC--"}, (1, 1, 1)),
        ({"status": "504", "end": "sH--", "total_ms": "30000"}, (1, 1, 1)),
        # The server died in the middle of its answer.
        ({"status": "200", "end": "SD--"}, (1, 1, 1)),
        # Callers that give up have no answer, and have made no error known.
        ({"status": "-1", "end": "CH--", "total_ms": "-1"}, (1, 0, 1)),
        ({"status": "400", "end": "CR--"}, (1, 0, 1)),
        ({"status": "0", "end": "CD--"}, (1, 0, 1)),
        ({"status": "-1", "end": "----"}, (1, 1, 1)),
        # With cookies or not, HAProxy's third and fourth letter say nothing about the answer.
        ({"end": "--VN"}, (1, 0, 0)),
        ({"protocol": "grpc", "call": "Predict"}, (1, 0, 0)),
        ({"protocol": "grpc", "call": "Predict", "grpc": "0"}, (1, 0, 0)),
        ({"protocol": "grpc", "call": "Predict", "grpc": "14"}, (1, 1, 0)),
        ({"protocol": "grpc", "call": "Predict", "grpc": "1"}, (1, 0, 1)),
        ({"protocol": "grpc", "call": "Predict", "grpc": "what%20is%20this"}, (1, 1, 0)),
        ({"protocol": "grpc", "call": "MultiInference"}, (1, 0, 0)),
        # Nothing of a model's work.
        ({"protocol": "grpc", "call": "GetModelMetadata"}, (0, 0, 0)),
        ({"call": "-"}, (0, 0, 0)),
        ({"call": "metadata"}, (0, 0, 0)),
        ({"model": "other"}, (0, 0, 0)),
        ({"arm": "-"}, (0, 0, 0)),
        ({"arm": "named"}, (0, 0, 0)),
        ({"protocol": "tcp"}, (0, 0, 0)),
    ],
)
def test_calls_are_judged_by_their_line(changes, counted):
    assert seen(**changes) == counted


def test_without_an_edge_nothing_is_slow():
    assert counts_of(line(total_ms="99999"), slow_ms=0)["canary"]["slow"] == 0


def test_both_arms_are_counted_apart():
    found = counts_of(line(), line(arm="control"), line(arm="control", status="500"))
    assert (found["canary"]["calls"], found["control"]["calls"], found["control"]["errors"]) == (1, 2, 1)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "tfserving protocol=",
        line() + " arm=control",
        line().replace(" end=----", ""),
        line(status="2e2"),
        line(status="٢٠٠"),
        line(total_ms="9" * 30),
        line(total_ms="nan"),
        line(total_ms=""),
        line(caller="a b"),
        line() + " ",
        line(caller="x" * 9000),
        "x" + line(),
        line()[: line().index("end=")],
        "Proxy in_rest stopped (cumulated conns: FE: 3, BE: 0).",
        "\0" * 100,
    ],
)
def test_lines_that_are_not_whole_are_left_out(hostile):
    assert counts_of(hostile, line())["canary"]["calls"] == 1


@given(st.text(max_size=300))
def test_no_text_is_too_much(text):
    for each in (text, line(caller=text), line() + text):
        found = calls.parsed(each)
        assert found is None or found.model == "ranker"


# --- how late the old version answers -------------------------------------------------------------------------


def latencies_of(*lines):
    latencies = {arm: calls.Latencies() for arm in calls.OLD}
    calls.count(
        entries(*lines), "ranker", 0.0, {arm: dict.fromkeys(calls.COUNTERS, 0) for arm in calls.ARMS}, latencies
    )
    return {arm: (each.answered.total, each.answered.max, each.missing) for arm, each in latencies.items()}


@pytest.mark.parametrize(
    ("changes", "arm", "expected"),
    [
        ({"arm": "control"}, "control", (1, 3000, 0)),
        ({"arm": "-"}, "stable", (1, 3000, 0)),
        # An error that was answered has its latency, as when slow calls are counted.
        ({"arm": "-", "status": "500", "total_ms": "70"}, "stable", (1, 70_000, 0)),
        ({"arm": "control", "status": "503", "end": "SC--"}, "control", (0, 0, 1)),
        ({"arm": "control", "total_ms": "9999999999"}, "control", (1, 3_600_000_000, 0)),
        ({"arm": "control", "total_ms": "-1"}, "control", (1, 1, 0)),
        # What HAProxy itself refuses has no arm either, and says nothing about a version.
        ({"arm": "-", "server": "<NOSRV>", "status": "401", "end": "PR--"}, "stable", (0, 0, 0)),
        ({"arm": "canary"}, "control", (0, 0, 0)),
        ({"arm": "named"}, "stable", (0, 0, 0)),
        ({"arm": "control", "model": "other"}, "control", (0, 0, 0)),
    ],
)
def test_latencies_are_those_of_the_old_version(changes, arm, expected):
    found = latencies_of(line(**changes))
    assert found[arm] == expected
    assert all(each == (0, 0, 0) for name, each in found.items() if name != arm)


def test_latencies_are_gathered_until_the_edge_is_known(kept):
    journal = Journal()
    counted(kept, journal, slow_ms=0)
    journal.lines += [line(arm="-")] * 2
    assert counted(kept, journal, slow_ms=0)["latencies"]["stable"]["answered"]["counts"] != {}
    journal.lines += [line(arm="-"), line(arm="control", total_ms="250")]
    found = counted(kept, journal, slow_ms=0)
    both = {arm: calls.Latencies.from_json(json.loads(json.dumps(found["latencies"][arm]))) for arm in calls.OLD}
    assert (both["stable"].answered.total, both["control"].answered.total) == (3, 1)
    assert found["control"]["slow"] == 0
    journal.lines += [line(arm="control", total_ms="250")]
    found = counted(kept, journal)
    assert (found["latencies"], found["control"]["slow"], "latencies" in kept.load()) == ({}, 1, False)


def test_the_record_stays_small_whatever_the_latencies(kept):
    journal = Journal()
    counted(kept, journal, slow_ms=0)
    journal.lines += [line(arm=arm, total_ms=str(ms)) for arm in ("-", "control") for ms in range(1, 60_000, 7)]
    assert [counted(kept, journal, slow_ms=0)["gap"] for _ in range(2)] == ["", ""]
    assert len(json.dumps(kept.load())) < 100_000


@pytest.mark.parametrize(
    "value", [None, {}, {"answered": {}, "missing": 0}, {"answered": None}, {"missing": -1}, {"missing": True}]
)
def test_latencies_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="histogram"):
        calls.Latencies.from_json(value)


# --- what is kept from call to call ---------------------------------------------------------------------------


class Journal:
    """Hands out lines once, as a journal with a cursor does; each place is one more line."""

    def __init__(self):
        self.lines, self.asked, self.gap, self.behind = [], [], "", False
        self.boot = "a"
        self.haproxy = {"pid": "7", "dropped": 0}

    def cursor(self):
        return f"s=1;i={len(self.lines)};b={self.boot * 32}"

    def place(self):
        self.lines.append("")
        return self.cursor()

    def read(self, cursor, here):
        self.asked.append((cursor, here))
        begin = int(cursor.split(";")[1].partition("=")[2])
        found = [Entry(each, "") for each in self.lines[begin:]]
        return Read(found, here or cursor, self.gap, self.behind)


@pytest.fixture
def kept(tmp_path):
    return calls.record("ranker", str(tmp_path / "calls"))


def counted(kept, journal, is_kept=True, generation=1, slow_ms=100.0):
    source = calls.Source(journal.place, journal.read, lambda: journal.haproxy)
    return calls.counted(kept, "ranker", slow_ms, source, generation, is_kept)


def test_counts_go_on_from_call_to_call(kept):
    journal = Journal()
    journal.lines += [line()]
    first = counted(kept, journal)
    assert (first["canary"]["calls"], first["gap"], first["behind"]) == (0, "", False)
    journal.lines += [line(), line(status="500")]
    second = counted(kept, journal)
    journal.lines += [line(arm="control")]
    third = counted(kept, journal)
    assert (second["canary"]["calls"], second["canary"]["errors"]) == (2, 1)
    assert (third["canary"]["calls"], third["control"]["calls"]) == (2, 1)
    assert {first["process"], second["process"]} == {third["process"]}
    # From place to place; what was there before the first one is not even read.
    assert [each[0].split(";")[1] for each in journal.asked] == ["i=2", "i=5"]


def test_another_roll_out_counts_anew_from_now_on(kept):
    journal = Journal()
    first = counted(kept, journal)
    journal.lines += [line()] * 3
    found = counted(kept, journal, generation=2)
    assert (found["canary"]["calls"], found["gap"]) == (0, "")
    assert found["process"] != first["process"]
    journal.lines += [line()]
    assert counted(kept, journal, generation=2)["canary"]["calls"] == 1


def test_the_answer_is_what_a_verdict_takes(kept):
    journal = Journal()
    before = json.loads(json.dumps(counted(kept, journal)))
    journal.lines += [line()] * 3 + [line(arm="control", status="503", end="SC--")]
    after = json.loads(json.dumps(counted(kept, journal)))
    delta, _known = samples.between({"gateways": {"edge-1": before}}, {"gateways": {"edge-1": after}}, ["edge-1"])
    assert (delta.canary.calls, delta.control.errors, delta.control.slow, delta.broken) == (3, 1, 1, [])


def test_check_mode_keeps_and_writes_nothing(kept):
    journal = Journal()
    assert counted(kept, journal, is_kept=False)["canary"]["calls"] == 0
    counted(kept, journal)
    journal.lines += [line()]
    found = [counted(kept, journal, is_kept=False)["canary"]["calls"] for _ in range(2)]
    assert found == [1, 1]
    assert kept.load()["canary"]["calls"] == 0
    assert len(journal.lines) == 2


def test_a_gateway_that_was_started_anew_says_so_once_and_counts_on(kept):
    journal = Journal()
    counted(kept, journal)
    journal.lines += [line()]
    journal.boot = "b"
    found = counted(kept, journal)
    assert (found["gap"], found["canary"]["calls"]) == ("was started anew, which may have cost lines of its journal", 1)
    journal.lines += [line()]
    found = counted(kept, journal)
    assert (found["gap"], found["canary"]["calls"]) == ("", 2)


def test_lines_that_haproxy_could_not_hand_over_are_a_gap(kept):
    journal = Journal()
    journal.haproxy = {"pid": "7", "dropped": 50}
    assert counted(kept, journal)["gap"] == ""
    journal.haproxy = {"pid": "7", "dropped": 1250}
    assert counted(kept, journal)["gap"] == (
        "has lost 1,200 lines that HAProxy could not hand over, as journald was busy"
    )
    # A worker that does not answer says nothing, and a new one begins at 0.
    for haproxy, gap in (
        ({"pid": "", "dropped": 0}, ""),
        ({"pid": "7", "dropped": 1250}, ""),
        ({"pid": "8", "dropped": 0}, ""),
        ({"pid": "9", "dropped": 2}, "has lost 2 lines that HAProxy could not hand over, as journald was busy"),
    ):
        journal.haproxy = haproxy
        assert counted(kept, journal)["gap"] == gap


def test_two_that_count_at_once_do_not_count_twice(kept):
    journal = Journal()
    counted(kept, journal)
    journal.lines += [line()]
    first, place = [], journal.place

    def meanwhile():
        if not first:
            first.append(1)
            with pytest.raises(RuntimeError, match=r"^the look before this one still reads the journal$"):
                counted(kept, journal)
        return place()

    journal.place = meanwhile
    assert counted(kept, journal)["canary"]["calls"] == 1
    assert counted(kept, journal)["canary"]["calls"] == 1


def test_a_journal_that_fails_leaves_the_counts_as_they_are(kept):
    journal = Journal()
    counted(kept, journal)
    journal.lines += [line()]
    read = journal.read

    def fail(_cursor, _here):
        raise RuntimeError("the journal cannot be read (no reason was given)")

    journal.read = fail
    with pytest.raises(RuntimeError):
        counted(kept, journal)
    journal.read = read
    assert counted(kept, journal)["canary"]["calls"] == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "process": "a", "cursor": "", "generation": 1}']
)
def test_a_damaged_record_begins_anew_and_says_so(kept, tmp_path, content):
    counted(kept, Journal())
    before = kept.load()["process"]
    (tmp_path / "calls" / "ranker.json").write_text(content)
    found = counted(kept, Journal())
    assert (found["gap"], found["canary"]["calls"]) == ("has lost its counts, and begins anew", 0)
    assert found["process"] != before
    assert counted(kept, Journal())["gap"] == ""


def test_a_gap_of_the_journal_is_handed_on_and_counts_stay(kept):
    journal = Journal()
    counted(kept, journal)
    journal.lines += [line()]
    journal.gap, journal.behind = "has lost 5 lines", True
    found = counted(kept, journal)
    assert (found["gap"], found["behind"], found["canary"]["calls"]) == ("has lost 5 lines", True, 1)


# --- HAProxy ----------------------------------------------------------------------------------------------------


def test_a_worker_tells_its_process_and_what_it_dropped(gateway, monkeypatch):
    monkeypatch.setattr(log_socket, "is_reached", lambda pid: pid.isdecimal())
    found = calls.haproxy(gateway.socket)
    assert (found["pid"].isdecimal(), found["dropped"]) == (True, 0)
    assert calls.haproxy(f"{gateway.socket}.none") == {"pid": "", "dropped": 0}


def test_a_worker_without_a_way_to_the_journal_is_named(gateway, monkeypatch):
    monkeypatch.setattr(log_socket, "is_reached", lambda pid: False)
    with pytest.raises(RuntimeError) as failed:
        calls.haproxy(gateway.socket)
    assert str(failed.value) == "its HAProxy has no /dev/log of the journal's in its chroot; restart haproxy.service"


def test_a_record_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "calls").write_text("in the way")
    with pytest.raises(WishError) as refused:
        counted(calls.record("ranker", str(tmp_path / "calls")), Journal())
    assert "cannot be written (" in str(refused.value)
    assert str(refused.value).endswith("; make room on the host")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b"])
def test_a_name_that_is_no_model_is_refused(name):
    with pytest.raises(WishError, match=r"^model: cannot be a model; use letters"):
        calls.record(name)
