# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module as a whole, with a journalctl of its own."""

from __future__ import annotations

import json
import socket
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.modules import gateway_calls
from running import run_module

LINE = (
    "tfserving protocol=rest from=10.0.0.9 caller=- model=ranker version=- label=- call=predict arm=canary"
    " backend=rest_ranker_canary server=gpu-a.ranker status=500 grpc=- end=---- retries=0 request_ms=0 queue_ms=0"
    " connect_ms=0 reply_ms=3 total_ms=3 in=400 out=80"
)


JOURNALCTL = """#!{python}
import json, pathlib, re, sys
home = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
(home / "asked").write_text("\\n".join(arguments))
if "{status}" != "0":
    sys.exit({status})
asked = [each[8:] for each in arguments if each.startswith("MESSAGE=")]
entries = [json.loads(line) for line in (home / "lines").read_text().splitlines()]
if asked:
    # journald has taken what waits in its socket.
    with open(home / "lines", "a") as lines:
        place = f"s=1;i={{len(entries) + 1}}"
        entry = {{"__CURSOR": place, "MESSAGE": asked[0], "SYSLOG_IDENTIFIER": "tfserving-calls"}}
        lines.write(json.dumps(entry) + "\\n")
    print(json.dumps(entry))
else:
    cursor = next(each[9:] for each in arguments if each.startswith("--cursor="))
    places = [entry["__CURSOR"] for entry in entries]
    for entry in entries[places.index(cursor):]:
        print(json.dumps(entry))
"""


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Return what adds lines of HAProxy to a journal of its own."""
    lines = tmp_path / "lines"
    lines.write_text("")

    def install(status=0):
        program = tmp_path / "journalctl"
        program.write_text(JOURNALCTL.format(python=sys.executable, status=status))
        program.chmod(0o755)

    def add(*messages):
        with lines.open("a") as file:
            for message in messages:
                number = len(lines.read_text().splitlines()) + 1
                found = {"__CURSOR": f"s=1;i={number}", "MESSAGE": message, "_SYSTEMD_UNIT": "haproxy.service"}
                file.write(json.dumps(found) + "\n")
                file.flush()

    install()
    add.install = install
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        yield add


def called(tmp_path, **more):
    places = {"folder": "calls", "rollouts": "", "log": "log", "socket": "none"}
    return run_module(
        gateway_calls, model="ranker", **{name: str(tmp_path / path) for name, path in places.items()}, **more
    )


def test_the_module_counts_from_call_to_call(tmp_path, journal):
    journal(LINE)
    assert called(tmp_path)["canary"]["calls"] == 0
    journal(LINE, LINE)
    found = called(tmp_path)
    assert (found["canary"]["calls"], found["canary"]["errors"], found["changed"]) == (2, 2, False)
    journal(LINE)
    assert called(tmp_path, _ansible_check_mode=True)["canary"]["calls"] == 3
    assert "--cursor=s=1;i=5" in (tmp_path / "asked").read_text().splitlines()
    assert called(tmp_path)["canary"]["calls"] == 3
    assert called(tmp_path)["canary"]["calls"] == 3


def test_the_module_counts_anew_for_another_roll_out_and_tells_its_age(tmp_path, journal):
    assert called(tmp_path)["age"] is None
    journal(LINE)
    state = {"schema": 1, "generation": 3, "revision": 7, "old": 7, "reverted": {}}
    (tmp_path / "ranker.json").write_text(json.dumps(state))
    found = called(tmp_path)
    assert (found["age"], found["canary"]["calls"], found["gap"]) == ([3, 7], 0, "")
    journal(LINE)
    assert called(tmp_path)["canary"]["calls"] == 1


def test_the_module_fails_with_a_sentence(tmp_path, journal):
    journal.install(status=1)
    assert called(tmp_path)["msg"] == "the journal cannot be read (no reason was given)"
    (tmp_path / "log").unlink()
    assert called(tmp_path)["msg"] == f"the journal cannot be written ({tmp_path}/log: No such file or directory)"
