# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a trace is written and kept, what counts as one, and what proves that the profiler is closed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.profiling import capture

TARGET = {"name": "gpu-a01", "host": "10.0.0.1", "grpc": 8500, "rest": 8501, "secured": False}


def asked(**given):
    return options.read({"instance": "ranker", **given}, "profile")


def refusal(answer):
    with pytest.raises(WishError) as refused:
        capture.require_taken(answer, "gpu-a01", "ranker")
    return str(refused.value)


def test_a_profile_has_a_rate_and_ten_seconds_of_its_own():
    found = asked()
    assert (found.rate, found.trace_s, found.protocol, found.output) == (20.0, 10, "grpc", "profile-ranker")
    assert asked(seconds="30", rate=5).trace_s == 30


@pytest.mark.parametrize("name", ["duration", "budget", "protocol", "search", "against", "shards"])
def test_variables_of_the_other_playbooks_are_refused(name):
    value = {"protocol": "grpc", "search": "standard", "against": "x.json", "shards": "auto"}.get(name, "60s")
    with pytest.raises(WishError, match=f"{name}: has no meaning for profile.yml"):
        asked(**{name: value})


def test_a_trace_of_more_than_a_minute_is_refused():
    with pytest.raises(WishError, match="seconds: is the string '61'; give a whole number from 1 to 60"):
        asked(seconds="61")


def test_the_server_writes_below_the_cache_directory_of_its_unit():
    found = capture.question(asked(), TARGET, "5f5f", 10, 10.0)
    assert found == {
        "target": {"host": "10.0.0.1", "grpc": 8500, "rest": 8501, "tls": None},
        "delay_s": 10.0,
        "duration_ms": 10_000,
        "root": "/var/cache/tfserving/ranker/profile",
        "session": "5f5f",
        "host": "gpu-a01",
    }
    assert capture.on_host("ranker", "5f5f", "gpu-a01") == (
        "/var/cache/tfserving/ranker/profile/5f5f/gpu-a01.xplane.pb"
    )
    assert capture.on_host("ranker", "5f5f", "fd00::1").endswith("/fd00__1.xplane.pb")


def test_it_is_kept_where_viewers_look(tmp_path):
    moment = time.struct_time((2026, 11, 28, 9, 5, 3, 5, 332, 0))
    assert capture.kept(str(tmp_path / "out"), "gpu-a01", moment) == (
        f"{tmp_path}/out/plugins/profile/2026_11_28_09_05_03/gpu-a01.xplane.pb"
    )


def test_what_is_no_trace_is_refused_with_what_to_do():
    assert refusal({"status": "UNIMPLEMENTED", "words": "unknown", "empty": True}) == (
        "instance: ranker on gpu-a01 has no profiler (unknown); see whether its release has the flag"
    )
    assert refusal({"status": "UNKNOWN", "words": "/var/cache; \x1b[31mno space", "empty": True}) == (
        "instance: ranker on gpu-a01 takes no trace: UNKNOWN (/var/cache; \\x1b[31mno space); look at its log, and run"
        " again"
    )
    assert refusal({"status": "OK", "words": "", "empty": True}) == (
        "instance: ranker on gpu-a01 took a trace without events; give a higher rate, or more seconds"
    )
    capture.require_taken({"status": "OK", "words": "", "empty": False}, "gpu-a01", "ranker")


def test_only_a_server_that_does_not_know_the_method_is_closed(monkeypatch):
    answers = iter(["UNIMPLEMENTED", "OK"])
    questions = []

    def ask(_place, subject, question):
        questions.append((subject, question["duration_ms"]))
        return {"status": next(answers)}

    monkeypatch.setattr(capture.runner, "ask", ask)
    assert capture.prove_closed(asked(), TARGET, None) == {"closed": True}
    with pytest.raises(WishError, match="ranker on gpu-a01 still answers the profiler"):
        capture.prove_closed(asked(), TARGET, None)
    assert questions == [("trace", 1)] * 2


def test_the_load_runs_before_throughout_and_after_the_trace(monkeypatch):
    happened = []

    class Load:
        def __init__(self, *_given):
            pass

        def stage(self, name, rate, seconds, _left, **_more):
            happened.append(("load", rate, seconds))
            return SimpleNamespace(entry={"result": {"ok": 400}})

    @contextmanager
    def beside(_place, what, question, seconds):
        happened.append((what, question["delay_s"], question["duration_ms"], seconds))
        yield lambda: {"status": "OK", "words": "", "empty": False}

    monkeypatch.setattr(capture, "Load", Load)
    monkeypatch.setattr(capture.runner, "beside", beside)
    monkeypatch.setattr(capture.mix, "requests", lambda *_given: SimpleNamespace(bodies=[]))
    monkeypatch.setattr(capture, "look", lambda *_given: [{"metadata": {}, "cores": 2}])
    found = capture.capture(asked(warmup="3s"), TARGET, "5f5f", None, None, print, ["load-1"])
    assert happened == [("trace", 8.0, 10_000, 18.0), ("load", 20.0, 20.0)]
    assert found["answered"] == 400
    assert found["trace"] == "/var/cache/tfserving/ranker/profile/5f5f/gpu-a01.xplane.pb"
