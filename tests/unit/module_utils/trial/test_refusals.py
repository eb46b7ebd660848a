# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Trials that are refused, each in one sentence and before anything is touched."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from trial_host import arguments, call, is_back

LATER = "run site.yml, and try other settings when it serves"


def refusal(host, *more, **options):
    before = (host.files, host.state)
    with pytest.raises(WishError) as refused:
        call(host, *more, **options)
    assert (host.files, host.state) == before
    return str(refused.value)


def test_an_unknown_instance(host):
    assert refusal(host, instance="rankr") == "instance: rankr is not in the plan of this host; did you mean 'ranker'?"
    assert refusal(host, instance="x") == "instance: x is not in the plan of this host; the plan has ranker"
    assert refusal(host, instance="../x") == (
        "instance: '../x' is not the name of an instance; name one of the host's plan"
    )


def test_a_host_without_a_plan(host):
    assert refusal(host, record=str(host.root / "none")) == (
        "instance: ranker is not in the plan of this host; the plan has no instance"
    )


def test_a_host_without_systemd(host):
    (host.root / "run/systemd/system").rmdir()
    (host.root / "proc/1/comm").write_text("runit\n")
    assert refusal(host) == "this host is run by runit, and a trial needs systemd; name another host"


def test_an_instance_that_does_not_run(host):
    host.change(pid=0, active="inactive")
    assert refusal(host) == (
        f"instance ranker: does not run, so that no settings can be compared with its plan's; {LATER}"
    )


@pytest.mark.parametrize("mark", ["0123456789ab-r2", "other-r1"])
def test_an_instance_with_other_settings_than_its_plan(host, mark):
    (host.root / f"proc/{host.state['pid']}/environ").write_text(f"TFSERVING_CONFIGURATION={mark}\0")
    assert refusal(host) == f"instance ranker: does not run with the settings of its plan; {LATER}"


def test_an_instance_that_does_not_serve(host, server):
    server.models["m"].versions[1] = "LOADING"
    assert refusal(host) == (
        f"instance ranker: does not serve its plan (model m version 1 is LOADING after 0 s); {LATER}"
    )


@pytest.mark.parametrize("state", ["present", "renewed", "absent"])
def test_a_trial_of_somebody_else(host, state):
    call(host)
    assert refusal(host, state=state, owner="tune-2") == (
        "instance ranker: a trial of tune-1 is in force;"
        " wait until it has ended, or end it with state=absent and no owner"
    )


def test_a_trial_that_nothing_will_end_is_anybodys(host):
    call(host)
    host.change(timers={})
    assert call(host, owner="tune-2")["owner"] == "tune-2"
    call(host, state="absent", owner="")
    assert is_back(host)


def test_a_damaged_drop_in_is_nobodys(host):
    call(host)
    host.drop_in.write_text("garbage")
    assert call(host, owner="tune-2")["owner"] == "tune-2"


def test_nothing_to_renew(host):
    assert refusal(host, state="renewed") == (
        "instance ranker: no trial of tune-1 is in force; begin one with state=present"
    )


@pytest.mark.parametrize("state", ["present", "renewed"])
def test_an_owner_is_needed(host, state):
    remedy = "write letters, digits, '.', '_' or '-', at most 64"
    assert refusal(host, state=state, owner="") == f"owner: is missing; {remedy}"
    assert refusal(host, state=state, owner="a b") == f"owner: a string is not an id; {remedy}"


@pytest.mark.parametrize("state", ["present", "renewed"])
@pytest.mark.parametrize("seconds", [29, 86401])
def test_times_out_of_bounds(host, state, seconds):
    assert refusal(host, state=state, expires_s=seconds) == (
        f"expires_s: {seconds} is out of bounds; write 30 to 86400 seconds"
    )


@pytest.mark.parametrize("word", ["port", "-x", "--a=\n", "--a=" + "x" * 4096])
def test_words_that_are_no_flags(host, word):
    assert refusal(host, word) == (
        "arguments[3]: is not a flag of the server; write --name=value on one line of at most 4096 characters"
    )


def test_too_many_words(host):
    assert refusal(host, *["--a=1"] * 200) == "arguments: has 203 words; pass at most 200"


def test_other_ports(host):
    other = ["--port=2", *arguments(host)[1:]]
    assert refusal(host, arguments=other) == (
        "arguments: does not keep the instance's grpc port; write --port=1 once, as the plan has it:"
        " callers and the proof need the port"
    )
    assert refusal(host, "--rest_api_port=99").startswith("arguments: does not keep the instance's rest port; write")


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "x" * 65, "models"])
def test_names_that_are_no_file_names(host, name):
    assert refusal(host, files={name: ""}).endswith(
        "is not a file name; write letters, digits, '.', '_' or '-', at most 64, no path, and not 'models'"
    )


def test_files_out_of_bounds(host):
    assert refusal(host, files={"a": "x" * 65537}) == "files.a: has more than 64 KiB; shorten it"
    assert refusal(host, files={"a": 3}) == "files.a: is a number; write the file's content as a string"
    assert refusal(host, files={str(number): "" for number in range(9)}) == "files: has 9 files; pass at most 8"


def test_no_trial_begins_without_a_way_back(host):
    real = host.run
    host.run = lambda words: (127, "", "systemd-run: not found") if words[0] == "systemd-run" else real(words)
    with pytest.raises(RuntimeError) as refused:
        call(host)
    assert str(refused.value) == (
        "systemd-run cannot arm the way back, so that no trial was begun: systemd-run: not found"
    )
    assert is_back(host)
