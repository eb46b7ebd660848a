# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole, with a journalctl of its own."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.modules import gateway_calls
from running import run_module

LINE = (
    "tfserving protocol=rest from=10.0.0.9 caller=- model=ranker version=- label=- call=predict arm=canary"
    " backend=rest_ranker_canary server=gpu-a.ranker status=500 grpc=- end=---- retries=0 request_ms=0 queue_ms=0"
    " connect_ms=0 reply_ms=3 total_ms=3 in=400 out=80"
)


def entry(number):
    return json.dumps(
        {
            "__CURSOR": f"s=1;i={number}",
            "__REALTIME_TIMESTAMP": str(int((time.time() + 60) * 1e6)),
            "MESSAGE": LINE,
            "_SYSTEMD_UNIT": "haproxy.service",
        }
    )


@pytest.fixture
def journalctl(tmp_path, monkeypatch):
    def install(*lines, status=0):
        (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines))
        program = tmp_path / "journalctl"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"$0".asked\ncat {tmp_path}/lines\nexit {status}\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return install


def called(tmp_path, **more):
    return run_module(gateway_calls, model="ranker", folder=str(tmp_path / "calls"), rollouts=str(tmp_path), **more)


def test_the_module_counts_from_call_to_call(tmp_path, journalctl):
    journalctl()
    assert called(tmp_path)["canary"]["calls"] == 0
    journalctl(entry(1), entry(2))
    found = called(tmp_path)
    assert (found["canary"]["calls"], found["canary"]["errors"], found["changed"]) == (2, 2, False)
    journalctl(entry(2), entry(3))
    assert called(tmp_path, _ansible_check_mode=True)["canary"]["calls"] == 3
    assert called(tmp_path)["canary"]["calls"] == 3
    assert "--cursor=s=1;i=2" in (tmp_path / "journalctl.asked").read_text().splitlines()


def test_the_module_tells_the_age_of_the_roll_out(tmp_path, journalctl):
    journalctl()
    assert called(tmp_path)["age"] is None
    state = {"schema": 1, "generation": 3, "revision": 7, "old": 7, "reverted": {}}
    (tmp_path / "ranker.json").write_text(json.dumps(state))
    assert called(tmp_path)["age"] == [3, 7]


def test_the_module_fails_with_a_sentence(tmp_path, journalctl):
    journalctl(status=1)
    assert called(tmp_path)["msg"] == "the journal cannot be read (no reason was given)"
