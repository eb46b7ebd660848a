# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bench of gateways makes of its stages; what runs HAProxy is tried by running it."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

import traffic
from support import lab_models, local_gateway
from support.local_load import part

OLD, NEW = traffic._versions()
SMALL = traffic.Case("REST", "small")
STAT = """\
# pxname,svname,stot,status,check_status,last_chk,agent_status,
rest_ranker,gpu-2.ranker,7,{status},{check},said,L7OK,
rest_ranker,BACKEND,7,UP,,,,
rest_ranker_canary,BACKEND,3,UP,,,,
"""


def sample(p50=2000, p99=5000, micros=100.0, failed=0, late=0, sent=100):
    return traffic.Sample(p50, p99, micros, failed, late, sent)


def running(text, over=False):
    """A gateway whose socket says this."""
    found = object.__new__(local_gateway.Gateway)
    found._process = SimpleNamespace(poll=lambda: 1 if over else None)
    found.command = lambda _text: text
    return found


def line(shown, name):
    (found,) = [each for each in shown.splitlines() if each.startswith(name)]
    return found


@pytest.fixture
def known(monkeypatch, tmp_path):
    monkeypatch.setattr(lab_models, "SERVED", tmp_path)
    (tmp_path / traffic.MODEL).mkdir()
    item = {"user_id": 89250, "dense": [0.5, -0.25]}
    answers = {"request": {"instances": [item, item]}}
    (tmp_path / traffic.MODEL / "known_answers.json").write_text(json.dumps(answers))
    return item


def test_requests_hold_one_item_and_large_ones_are_filled_up(known):
    found = {key: base64.b64decode(body) for key, body in traffic.bodies().items()}
    for size in ("small", "large"):
        assert json.loads(found["REST", size]) == {"instances": [known]}
        inputs = part("module_utils.load.messages").decode_request(found["gRPC", size])
        assert {name: list(tensor.values) for name, tensor in inputs.items()} == {
            "user_id": [89250],
            "dense": [0.5, -0.25],
        }
    assert len(found["REST", "large"]) == traffic.LARGE_BYTES
    assert 0 <= len(found["gRPC", "large"]) - traffic.LARGE_BYTES < 10


def test_what_a_gateway_adds_is_the_difference_of_pairs_and_may_be_less_than_nothing():
    by_side = {
        traffic.DIRECT: [sample(2000), sample(9000), sample(2100)],
        OLD: [sample(2300), sample(8900), sample(2500)],
    }
    shown = line(traffic.added({SMALL: by_side}), f"REST, small, {OLD}")
    assert "2500 (2300 to 8900)  300 (-100 to 400)" in shown


def test_what_a_core_carries_follows_from_the_cpu_time_of_a_call():
    by_side = {OLD: [sample(micros=100), sample(micros=200)], NEW: [sample(micros=150), sample(micros=100)]}
    shown = traffic.cores({SMALL: by_side}, {OLD: 0.001, NEW: 0.002})
    assert "7500 (5000 to 10000)" in line(shown, f"REST, small, {OLD}")
    assert "1.00 (0.50-1.50)" in line(shown, f"REST, small, {NEW}")
    assert f"{OLD}: 0.1%, {NEW}: 0.2% of a CPU" in shown


def test_calls_at_once_are_compared_with_the_server_alone_and_named_by_their_streams():
    names = (traffic.DIRECT, OLD, NEW, f"{NEW}, serial")
    shown = traffic.bursts({name: [sample(2000 + 1000 * place)] for place, name in enumerate(names)})
    assert "1.50 (1.50-1.50)" in line(shown, f"{OLD}, serial")
    assert "2.00 (2.00-2.00)" in line(shown, f"{NEW}, parallel")
    assert "2.50 (2.50-2.50)" in line(shown, f"{NEW}, serial")


def test_failed_and_late_calls_and_disturbed_stages_are_told():
    shown = traffic.trouble({SMALL: {OLD: [sample(late=50, failed=3), sample()]}})
    assert "of 200 calls 3 failed, and 25.0% left more than 1 ms late" in shown
    assert "in 1 of 2 stages" in shown


def test_the_worst_round_of_a_share_counts_whatever_chance_would_allow():
    shown = traffic.shares({OLD: {50: [52, 38, 50], 500: [510, 480, 500]}})
    assert line(shown, f"{OLD}, 50 ").split()[-6:] == ["24.0%", "37-63", "at", "most", "0.2:", "missed"]
    assert line(shown, f"{OLD}, 500").split()[-6:] == ["4.0%", "470-530", "at", "most", "0.2:", "met"]


def test_the_companions_figures_are_those_of_its_whole_process():
    shown = traffic.companion(0.01, 22.04, 500, 1, 30)
    assert "(500 questions, 1 with another answer than open)" in shown
    assert [each.split()[-1] for each in shown.splitlines()[-3:]] == ["1.00%", "600", "22.0"]


def test_calls_are_counted_by_backend():
    assert running(STAT.format(status="UP", check="L7OK")).calls() == {"rest_ranker": 7, "rest_ranker_canary": 3}


@pytest.mark.parametrize(("status", "check"), [("UP", "INI"), ("DOWN", "L7OK")])
def test_a_server_is_up_only_after_its_first_check(status, check):
    running(STAT.format(status="UP", check="L7OK")).settle()
    with pytest.raises(SystemExit, match=f"not up: .*{status} said"):
        running(STAT.format(status=status, check=check), over=True).settle()


def test_a_share_that_haproxy_does_not_take_ends_the_bench():
    gateway = running("unable to find the map")
    gateway._place = Path("/gateway")
    with pytest.raises(SystemExit, match="does not take the share: unable to find the map"):
        gateway.share("ranker", 50)


@pytest.mark.parametrize(("cpus", "gateway", "generator"), [({0, 1}, 0, {0}), ({0, 1, 2, 3}, 1, {0, 2}), ({5}, 5, {5})])
def test_server_gateway_and_generator_share_a_cpu_only_where_they_must(monkeypatch, cpus, gateway, generator):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: cpus)
    assert local_gateway.cpu() == gateway
    assert traffic._generator_cpus(gateway) == generator
