# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The probe tells an HAProxy that loses replies from one that does not, and says so where it cannot be run."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import probe, proof
from ansible_collections.tfserving.fleet.plugins.modules import gateway_probe
from patience import LONG_S
from running import run_module
from running_gateway import program

REMEDY = "tune.h2.max-concurrent-streams 1"
CALLS = 800
SECONDS = LONG_S


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """No machine reaches the limits of this process, however long it stands still."""
    monkeypatch.setattr(probe, "START_S", LONG_S)
    monkeypatch.setattr(probe, "STILL_S", LONG_S)


def script(folder, text: str) -> str:
    path = folder / "haproxy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_defect_of_debian_12_is_found():
    outcome = probe.probe(program(), [], CALLS, SECONDS)
    assert outcome.calls == CALLS
    assert outcome.lost > 0
    assert outcome.words


def test_a_larger_buffer_hides_nothing():
    assert probe.probe(program(), ["tune.bufsize 65536"], CALLS, SECONDS).lost > 0


def test_one_call_at_a_time_on_a_connection_is_the_remedy():
    outcome = probe.probe(program(), [REMEDY], CALLS, SECONDS)
    assert (outcome.calls, outcome.lost, outcome.words) == (CALLS, 0, "")
    assert re.fullmatch(r"[23]\.\d+\.\d+.*", outcome.version)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    probe.probe(program(), [REMEDY], 20, SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_replies_are_around_the_size_of_the_buffer():
    assert (min(probe.sizes([])), max(probe.sizes([]))) == (12288, 20417)
    assert min(probe.sizes(["tune.bufsize 32768", REMEDY])) == 24576
    assert probe.sizes(["tune.bufsize nonsense"]) == probe.sizes([])


def test_a_setting_that_haproxy_does_not_know_is_told_in_its_own_words():
    with pytest.raises(probe.ProbeError, match=r"does not start for the probe \(.*unknown keyword 'tune.nonsense'"):
        probe.probe(program(), ["tune.nonsense 1"], 20, SECONDS)


@pytest.mark.parametrize("line", ["maxconn 1", "tune.bufsize 1\nuser root", "tune.bufsize", "tune.lua.x 1 2", ""])
def test_a_line_that_is_no_setting_is_refused(line):
    with pytest.raises(WishError) as caught:
        probe.check_tune([REMEDY, line])
    assert str(caught.value) == "tune[1]: is not a setting of HAProxy; write it as 'tune.NAME VALUE'"


def test_without_h2_the_package_is_named(monkeypatch):
    monkeypatch.setattr(probe, "HAS_H2", False)
    with pytest.raises(probe.ProbeError) as caught:
        probe.probe("/nonexistent", [], 1, 1.0)
    assert str(caught.value) == (
        "the Python package h2 is missing, without which no call can be made; install python3-h2"
    )


def test_a_program_that_is_missing_or_no_haproxy_is_told(tmp_path):
    with pytest.raises(probe.ProbeError, match=r"^/nonexistent -v does not answer \(No such file or directory\)$"):
        probe.version("/nonexistent")
    with pytest.raises(probe.ProbeError, match=r"names no version \(what\?\)$"):
        probe.version(script(tmp_path, "echo what?"))


def test_a_program_that_ends_at_once_is_told(tmp_path):
    binary = script(tmp_path, 'case $1 in -v) echo "HAProxy version 2.6.12 x";; *) echo no memory >&2; exit 1;; esac')
    with pytest.raises(probe.ProbeError, match=r"^HAProxy does not start for the probe \(no memory\)$"):
        probe.probe(binary, [], 20, SECONDS)


def test_calls_without_a_reply_count_as_lost(monkeypatch):
    monkeypatch.setattr(probe, "STILL_S", 0.5)
    # The server's stand-in takes calls and says nothing.
    monkeypatch.setattr(probe._ServerWire, "_begin", lambda *_: None)
    outcome = probe.probe(program(), [], 40, SECONDS)
    assert (outcome.lost, outcome.words) == (40, "no reply in time")


def test_a_reply_that_is_short_of_a_byte_counts_as_lost(monkeypatch):
    begin = probe._ServerWire._begin

    def short(wire, stream):
        begin(wire, stream)
        wire.replies[stream] -= 1

    monkeypatch.setattr(probe._ServerWire, "_begin", short)
    outcome = probe.probe(program(), [REMEDY], 40, SECONDS)
    assert (outcome.lost, outcome.words) == (40, "a reply that is not whole")


# --- the record of what has passed ---------------------------------------------------------------------------


def test_what_has_passed_is_not_tried_again(tmp_path, monkeypatch):
    record = str(tmp_path / "gateway/probe.json")
    first = proof.prove(program(), [REMEDY], 40, SECONDS, record)
    assert (first["calls"], first["changed"]) == (40, True)
    monkeypatch.setattr(probe, "probe", None)
    again = proof.prove(program(), [REMEDY], 40, SECONDS, record)
    assert (again["calls"], again["lost"], again["changed"]) == (0, 0, False)


@pytest.mark.parametrize("other", [{"tune": []}, {"calls": 41}])
def test_other_settings_are_tried(tmp_path, monkeypatch, other):
    record = str(tmp_path / "probe.json")
    proof.prove(program(), [REMEDY], 40, SECONDS, record)
    tried = []
    outcome = probe.Outcome("2.6.12", 1, 0, 0.1, "")
    monkeypatch.setattr(probe, "probe", lambda *given: tried.append(given) or outcome)
    wish = {"tune": [REMEDY], "calls": 40, **other}
    assert proof.prove(program(), wish["tune"], wish["calls"], SECONDS, record)["calls"] == 1
    assert len(tried) == 1


def test_a_record_that_is_damaged_is_made_anew(tmp_path):
    record = tmp_path / "probe.json"
    record.write_text("{")
    assert proof.prove(program(), [REMEDY], 40, SECONDS, str(record))["calls"] == 40


def test_the_module_passes_and_keeps_no_record_in_check_mode(tmp_path):
    record = tmp_path / "probe.json"
    wish = {"binary": program(), "tune": [REMEDY], "calls": 40, "record": str(record)}
    found = run_module(gateway_probe, _ansible_check_mode=True, **wish)
    assert (found["lost"], found["calls"], record.exists()) == (0, 40, False)
    assert run_module(gateway_probe, **wish)["changed"] is True
    assert run_module(gateway_probe, **wish)["changed"] is False


def test_the_module_fails_with_figures_and_the_remedy(tmp_path):
    record = tmp_path / "probe.json"
    found = run_module(gateway_probe, binary=program(), calls=CALLS, record=str(record))
    assert found["failed"] is True
    assert re.fullmatch(
        r"HAProxy 2\.6\.12-\S+ lost \d+ of 800 gRPC calls between 16 at a time with replies around the size of its "
        r"buffer \(first: .+\); set gateway_grpc_mode to serial_streams, or to tcp",
        found["msg"],
    )
    assert found["lost"] > 0
    assert not record.exists()


def test_where_the_remedy_does_not_help_another_is_told():
    found = {"version": "9.9", "lost": 1, "calls": 40, "words": "RST_STREAM with error 7"}
    sentence = proof.verdict(found, ["tune.h2.be.max-concurrent-streams 1"])
    assert sentence.endswith("(first: RST_STREAM with error 7); set gateway_grpc_mode to tcp, or update HAProxy")


def test_the_module_fails_with_a_sentence():
    found = run_module(gateway_probe, binary="/nonexistent", tune=["no"])
    assert found["msg"] == "tune[0]: is not a setting of HAProxy; write it as 'tune.NAME VALUE'"
