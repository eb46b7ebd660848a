# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What gateways are told of old servers, in which steps their calls move, and what ends a step."""

from __future__ import annotations

import os

import adopted_servers as old
import gateway_cases
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import gateways, publish, share
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.case import cases
from hypothesis import given
from hypothesis import strategies as st
from planner_cases import box

ONE = ("--port=9000", "--rest_api_port=9001", "--model_name=ranker", "--model_base_path=/models/ranker")
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
PLACE = "beside/group_vars/tfserving_gateways"
ENTRY = {"host": "gpu-a01", "instance": "ranker", "ports": {"grpc": 9000, "rest": 9001}, "models": {"ranker": [4]}}


def published(folder, *servers):
    publish.publish(str(folder), {"gpu-a01": old.survey(*servers)}, {"gpu-a01": box(1)}, {})
    return folder


def written(folder, name="adopted"):
    return yaml.safe_load((folder / PLACE / f"{name}.yml").read_text())


@pytest.fixture
def adopted(tmp_path):
    return published(tmp_path / "adopted", old.unit(*ONE))


def test_gateways_are_told_of_the_old_servers_and_get_no_share_yet(adopted):
    assert written(adopted) == {"gateway_adopted": [ENTRY]}
    assert written(adopted, "share") == {"gateway_adopted_share": 0}
    assert share.present(str(adopted)) == 0


def test_gateways_take_what_an_adoption_has_written(adopted):
    ports = {"grpc": 18500, "rest": 18501}
    hosts = {"gpu-a01": gateway_cases.host(1, gateway_cases.instance(versions=[4], ports=ports))}
    plan = gateway_cases.planned(hosts, **written(adopted), **written(adopted, "share"))
    (server,) = gateway_cases.backend(plan, "rest_ranker_control")["servers"]
    assert server["endpoint"] == "10.0.0.1:9001"


def test_a_container_is_called_by_the_ports_that_it_publishes(tmp_path):
    box_of = {"ports": old.published(8600, 8601, address="0.0.0.0")}
    server = old.docker(inside=box_of, environment={"MODEL_NAME": "ranker"})
    (entry,) = written(published(tmp_path / "a", server))["gateway_adopted"]
    assert entry["ports"] == {"grpc": 8600, "rest": 8601}


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (old.unit(*ONE[:1], *ONE[2:]), "gpu-a01 ranker: it has no port of REST on the host"),
        (old.unit(*ONE, serves=None), "gpu-a01 ranker: it serves no model that is known"),
        (
            old.unit(*ONE, listening=[{"address": "127.0.0.1", "port": 9001, "kind": "rest"}]),
            "gpu-a01 ranker: its port 9001 is open on the host alone",
        ),
        (
            old.unit(
                *ONE[:2],
                old.CONFIGURED,
                files=old.files(more="version_labels { key: 'stable' value: 4 }"),
            ),
            "gpu-a01 ranker: ranker is called by labels",
        ),
    ],
)
def test_what_no_gateway_can_call_is_left_out_with_the_reason(tmp_path, server, why):
    folder = published(tmp_path / "a", server)
    text = " ".join((folder / PLACE / "adopted.yml").read_text().replace("\n# ", " ").split())
    assert why in text
    assert written(folder) == {"gateway_adopted": []}


@given(st.dictionaries(st.sampled_from(sorted(old.server())), PLAIN, max_size=6))
def test_whatever_a_survey_holds_gateways_are_told_what_they_can_read(broken):
    known = cases(old.survey({**old.server(*ONE), **broken}))
    files = gateways.files(known, {(each.host, each.name): "ranker" for each in known})
    entries = yaml.safe_load(files[gateways.ADOPTED_FILE].replace("!unsafe", ""))["gateway_adopted"] if files else []
    assert len(entries) <= 1


def test_a_share_is_kept_in_the_inventory(adopted):
    assert share.record(str(adopted), 25)
    assert not share.record(str(adopted), 25)
    assert written(adopted, "share") == {"gateway_adopted_share": 25}
    assert os.stat(adopted / PLACE / "share.yml").st_mode & 0o777 == 0o600


def test_a_damaged_share_is_refused(adopted):
    (adopted / PLACE / "share.yml").write_text("gateway_adopted_share: lots\n")
    with pytest.raises(WishError, match="gateway_adopted_share: is the string 'lots'"):
        share.present(str(adopted))
    (adopted / PLACE / "share.yml").write_text("{")
    with pytest.raises(WishError, match=r"share.yml cannot be read .*; repair it, or write gateway_adopted_share: 0"):
        share.present(str(adopted))


@pytest.mark.parametrize(
    ("now", "wished", "steps", "is_watched"),
    [
        (0, "", [5, 25, 50, 100], True),
        (25, "", [25, 50, 100], True),
        (30, "", [30, 50, 100], True),
        (100, "", [], True),
        (25, 0, [0], False),
        (0, "60", [60], False),
    ],
)
def test_a_run_goes_on_from_the_present_share(adopted, now, wished, steps, is_watched):
    share.record(str(adopted), now)
    course = share.course(str(adopted), [ENTRY], {}, wished)
    assert (course["now"], course["steps"], course["is_watched"]) == (now, steps, is_watched)
    assert course["models"] == ["ranker"]


def test_a_person_chooses_the_steps(adopted):
    assert share.course(str(adopted), [ENTRY], {"steps": [10, 100]}, "")["steps"] == [10, 100]


@pytest.mark.parametrize(
    ("entries", "given", "wished", "says"),
    [
        (
            [],
            {},
            "",
            "gateway_adopted: is empty, so gateways know no old server; run with the beside of the adoption, and",
        ),
        ([ENTRY], {"steps": [50, 60]}, "", "adopt_rollout.steps: ends at 60; end with 100"),
        ([ENTRY], {"step": [100]}, "", "adopt_rollout.step: "),
        ([ENTRY], {}, 101, "adopt_share: is the number 101; give a percentage"),
    ],
)
def test_a_course_that_leads_nowhere_is_refused(adopted, entries, given, wished, says):
    with pytest.raises(WishError) as caught:
        share.course(str(adopted), entries, given, wished)
    assert str(caught.value).startswith(says)


def counts(calls, errors=0):
    return {"calls": calls, "errors": errors, "slow": 0, "golden_calls": 0, "golden_errors": 0}


def answer(canary, control, **keys):
    return {"process": "1", "canary": canary, "control": control, "gap": "", **keys}


def looks(*answers, models=("ranker",), seconds=60.0, rules=()):
    """Return what looks at these answers of one gateway say, a minute apart."""
    seen, found = {}, {}
    for number, each in enumerate(answers):
        by_model = each if set(each) <= set(models) else {"ranker": each}
        found = share.looked(models, {"edge-1": by_model}, seen, dict(rules), 1000.0 + number * seconds)
        seen = found["seen"]
    return found


def test_a_step_passes_once_enough_calls_were_as_good():
    first = looks(answer(counts(0), counts(0)))
    assert first["outcome"] == "wait"
    found = looks(
        answer(counts(7, 7), counts(9)), answer(counts(40, 7), counts(90)), answer(counts(900, 7), counts(900))
    )
    assert found["outcome"] == "pass"
    assert found["text"].startswith("ranker: errors: canary 0/893, control 0/891: pass")


def test_new_instances_that_fail_lose_their_share():
    # As in roll-outs, what comes between two looks weighs little: a burst of errors is no proof.
    burst = [answer(counts(0), counts(0))] * 2 + [answer(counts(300, 60), counts(300))]
    assert looks(*burst)["outcome"] == "wait"
    found = looks(*(answer(counts(30 * each, 30 * each), counts(30 * each)) for each in range(25)), seconds=15.0)
    assert found["outcome"] == "back"
    assert "fail, more than chance explains (errors)" in found["text"]


def test_a_gateway_that_cannot_count_lets_nothing_pass():
    failed = share.by_model([{"item": "ranker", "msg": "no journal", "failed": False}])["ranker"]
    found = looks(answer(counts(0), counts(0)), answer(counts(0), counts(0)), failed)
    assert found["outcome"] == "wait"
    assert "gateway edge-1 does not answer (no journal)" in found["text"]


def test_at_the_deadline_a_share_that_nothing_is_known_of_goes_back_or_waits_for_a_person():
    silent = [answer(counts(0), counts(0))] * 12
    assert looks(*silent)["outcome"] == "back"
    assert looks(*silent, rules={"auto_revert": False})["outcome"] == "held"


def test_looks_are_fewer_where_a_step_may_take_long():
    assert looks(answer(counts(0), counts(0)))["wait_s"] == 15
    assert looks(answer(counts(0), counts(0)), rules={"progress_deadline": "2h"})["wait_s"] == 180


def test_a_model_that_nobody_calls_does_not_hold_the_others():
    quiet = answer(counts(0), counts(0))
    steps = [(0, 0), (0, 0), (900, 900)]
    found = looks(
        *({"ranker": answer(counts(new), counts(was)), "dense": quiet} for new, was in steps),
        models=("dense", "ranker"),
    )
    assert found["outcome"] == "pass"


def test_an_old_server_that_gateways_call_is_not_stopped():
    step = {"server": "old", "instance": "ranker"}
    with pytest.raises(WishError) as caught:
        share.refuse_called([ENTRY], 50, "gpu-a01", [step])
    assert str(caught.value) == (
        "gateway_adopted_share: is 50, so gateways still call old on gpu-a01; run adopt_share.yml first"
    )
    share.refuse_called([ENTRY], 100, "gpu-a01", [step])
    share.refuse_called([ENTRY], 50, "gpu-a02", [step])
    share.refuse_called([], 0, "gpu-a01", [step])
