# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model with a roll-out keeps the versions that are in force; rollout.yml names the stage that moves them."""

from __future__ import annotations

import copy
import json

import planner_cases as cases
import pytest
import typed
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import proofs
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan, in_force
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.plan import of_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.schema import Plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import steps
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import golden
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from hypothesis import assume, given
from hypothesis import strategies as st
from planner_cases import CPU_HOST, box, instance, model, plan, refusal

SEVEN = {"ranker": {"versions": [7], "labels": {}}}
REASON = "7 is in force, and rollout.yml alone moves a model with a roll-out"


def rolled(**keys):
    """Return a model with a roll-out, wished in version 8."""
    return model(**{"version": 8, "rollout": {}, **keys})


def planned(*, models=None, instances=None, machine=CPU_HOST, in_force=SEVEN, **policy):
    return plan(machine, instances, models or [rolled()], in_force=in_force, **policy)


def entry(made, name="ranker"):
    return next(each for each in made["models"] if each["name"] == name)


def policy_of(made):
    (config,) = made["instances"][0]["model_config"]["model_config_list"]["config"]
    return config["model_version_policy"]


def labels_of(made):
    (config,) = made["instances"][0]["model_config"]["model_config_list"]["config"]
    return config.get("version_labels")


# What is served ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "served", "on_disk"),
    [("hold", [7], [7]), ("both", [7, 8], [7, 8]), ("new", [8], [8]), ("old", [7], [7]), (None, [7], [7])],
)
def test_each_stage_serves_its_versions(stage, served, on_disk):
    made = planned(rollout={"ranker": stage} if stage else {})
    assert policy_of(made) == {"specific": {"versions": served}}
    assert entry(made)["versions"] == entry(made)["provided"] == on_disk
    assert entry(made)["serve"] == {"versions": served}


def test_a_held_model_says_what_waits_and_why():
    assert entry(planned())["waits"] == {"from": [7], "to": [8], "reason": REASON}


@pytest.mark.parametrize("stage", ["both", "new", "old"])
def test_a_model_that_moves_does_not_wait(stage):
    assert "waits" not in entry(planned(rollout={"ranker": stage}))


def test_a_model_without_a_rollout_moves_at_once_whatever_is_in_force():
    made = planned(models=[model(version=8)], reverted={"ranker": {"8": "it was slow"}}, unseen=["h9"])
    assert made == plan(CPU_HOST, None, [model(version=8)])


@pytest.mark.parametrize("in_force", [{}, {"ranker": {"versions": [8]}}], ids=["first", "in-force"])
def test_nothing_waits_on_a_first_deployment_and_where_the_wish_is_in_force(in_force):
    assert planned(in_force=in_force) == plan(CPU_HOST, None, [model(version=8)])


def test_a_version_taken_back_in_the_wish_waits_too():
    made = planned(models=[rolled(version=6)])
    assert (policy_of(made), entry(made)["waits"]["to"]) == ({"specific": {"versions": [7]}}, [6])


def test_a_host_in_the_middle_of_a_rollout_keeps_both_versions():
    made = planned(in_force={"ranker": {"versions": [7, 8]}})
    assert policy_of(made) == {"specific": {"versions": [7, 8]}}
    assert entry(made)["waits"]["from"] == [7, 8]
    assert entry(made)["waits"]["reason"].startswith("7 and 8 are in force, and ")


def test_all_instances_of_a_model_are_held():
    instances = [instance("a"), instance("b", ports={"grpc": 9500, "rest": 9501})]
    made = planned(instances=instances)
    served = [each["model_config"]["model_config_list"]["config"][0] for each in made["instances"]]
    assert [each["model_version_policy"] for each in served] == [{"specific": {"versions": [7]}}] * 2


def test_other_models_of_the_host_move():
    made = planned(models=[rolled(), model("digits", version=3)])
    assert [each["versions"] for each in made["models"]] == [[7], [3]]
    assert "waits" not in entry(made, "digits")


def test_other_settings_change_while_a_version_waits():
    before, after = (planned(instances=[instance(flags={"max_num_load_retries": count})]) for count in (3, 4))
    assert before["instances"][0]["digest"] != after["instances"][0]["digest"]
    assert policy_of(before) == policy_of(after) == {"specific": {"versions": [7]}}


def test_no_stage_restarts_a_server():
    stages = ({"ranker": stage} for stage in ("hold", "both", "new", "old"))
    digests = {planned(rollout=stage, models=[rolled(memory_mb=900)])["instances"][0]["digest"] for stage in stages}
    assert len(digests) == 1


def test_versions_that_the_wish_only_puts_on_disk_are_there_while_another_waits():
    made = planned(models=[rolled(version=None, versions=[6, 8])])
    assert (entry(made)["versions"], entry(made)["serve"]) == ([6, 7], {"versions": [7]})


def test_the_record_of_a_plan_that_waits_holds_it_again():
    first = planned()
    again = planned(in_force=in_force.of_plan(first))
    assert again == first


# Labels -----------------------------------------------------------------------------------------------------------

LABELLED = {"ranker": {"versions": [7], "labels": {"stable": 7}}}
MOVED = {"versions": [8], "labels": {"stable": 8}}


@pytest.mark.parametrize(
    ("stage", "labels"),
    [("hold", {"stable": 7}), ("both", {"stable": 7}), ("new", {"stable": 8}), ("old", {"stable": 7})],
)
def test_labels_move_with_the_last_stage(stage, labels):
    made = planned(models=[rolled(serve=MOVED)], in_force=LABELLED, rollout={"ranker": stage})
    assert labels_of(made) == labels


def test_a_label_alone_waits_as_well():
    both = {"versions": [7, 8], "labels": {"stable": 7}}
    made = planned(models=[rolled(serve={**both, "labels": {"stable": 8}})], in_force={"ranker": both})
    assert labels_of(made) == {"stable": 7}
    assert entry(made)["waits"]["labels"] == {"from": {"stable": 7}, "to": {"stable": 8}}


def test_the_server_accepts_each_stage_after_the_other():
    stages = [
        planned(models=[rolled(serve=MOVED)], in_force=LABELLED, rollout={"ranker": stage})["instances"]
        for stage in ("hold", "both", "new")
    ]
    assert len(steps.config_steps(stages[0], stages[1])) == 1
    bridge, last = steps.config_steps(stages[1], stages[2])
    (config,) = bridge[0]["model_config"]["model_config_list"]["config"]
    assert config["model_version_policy"] == {"specific": {"versions": [7, 8]}}
    assert last == stages[2]


LISTED = {"versions": [6, 8], "labels": {"stable": 8, "old": 6}}
LISTED_BEFORE = {"versions": [6, 7], "labels": {"stable": 7, "old": 6}}


@pytest.mark.parametrize(
    ("stage", "known", "served"),
    [
        ("hold", LISTED_BEFORE, LISTED_BEFORE),
        ("both", LISTED_BEFORE, {**LISTED_BEFORE, "versions": [6, 7, 8]}),
        ("new", LISTED_BEFORE, LISTED),
        ("new", {**LISTED_BEFORE, "versions": [6, 7, 8]}, LISTED),
        ("old", {**LISTED_BEFORE, "versions": [6, 7, 8]}, LISTED_BEFORE),
        ("old", LISTED, LISTED_BEFORE),
    ],
)
def test_versions_beside_the_one_that_moves_stay_with_their_labels(stage, known, served):
    wish = rolled(version=None, versions=[6, 8], serve=LISTED)
    record = {"plan": plan(CPU_HOST, None, [model(version=None, versions=known["versions"], serve=known)])}
    record["rollouts"] = {"ranker": {"age": [1, 1], "old": 7, "new": 8, "reverted": {}}}
    found = in_force.of_host(record, in_force.of_fleet([record]))
    made = planned(models=[wish], in_force=found["in_force"], rollout={"ranker": stage})
    assert entry(made)["serve"] == served
    assert policy_of(made) == {"specific": {"versions": served["versions"]}}
    assert labels_of(made) == served["labels"]


@pytest.mark.parametrize(
    ("stage", "known", "labels"),
    [
        ("hold", {"versions": [9], "labels": {"stable": 9}}, {"stable": 9}),
        ("both", {"versions": [9], "labels": {"stable": 9}}, {"stable": 9}),
        ("new", {"versions": [9], "labels": {"stable": 9}}, {"stable": 8}),
        ("old", {"versions": [8], "labels": {"stable": 8}, "previous": {"versions": [9]}}, {"stable": 9}),
    ],
)
def test_labels_move_with_a_lower_version_too(stage, known, labels):
    made = planned(models=[rolled(serve=MOVED)], in_force={"ranker": known}, rollout={"ranker": stage})
    assert labels_of(made) == labels


# What proves the served versions ---------------------------------------------------------------------------------

OLD_PROOF = {
    "contract": {"signature_name": "serving_default", "outputs": {"scores": {"dtype": "DT_FLOAT"}}},
    "probe": {"instances": [[1.0]], "expect": [[0.5]]},
}
NEW_PROOF = {"contract": {"outputs": {"ranks": {"dtype": "DT_INT64"}}}, "probe": {"instances": [[2.0]]}}
NO_PROOF = {"contract": None, "probe": None}


@pytest.mark.parametrize(
    ("stage", "known", "proven"),
    [
        ("hold", [7], {7: OLD_PROOF}),
        ("hold", [7, 8], {7: OLD_PROOF, 8: NEW_PROOF}),
        ("both", [7], {7: OLD_PROOF, 8: NEW_PROOF}),
        ("both", [7, 8], {7: OLD_PROOF, 8: NEW_PROOF}),
        ("new", [7], {7: OLD_PROOF, 8: NEW_PROOF}),
        ("new", [7, 8], {7: OLD_PROOF, 8: NEW_PROOF}),
        ("hold", [8], {8: NEW_PROOF}),
        ("old", [7, 8], {7: OLD_PROOF}),
        # A lower version than the one in force.
        ("hold", [9], {9: OLD_PROOF}),
        ("both", [9], {8: NEW_PROOF, 9: OLD_PROOF}),
        ("new", [9], {8: NEW_PROOF, 9: OLD_PROOF}),
        ("old", [8, 9], {9: OLD_PROOF}),
    ],
)
def test_each_version_is_proven_by_what_belongs_to_it(stage, known, proven):
    found = {"versions": known, "proofs": {str(version): OLD_PROOF for version in known}}
    made = entry(planned(models=[rolled(**NEW_PROOF)], in_force={"ranker": found}, rollout={"ranker": stage}))
    wished = entry(planned(models=[rolled(**NEW_PROOF)], in_force={}))
    expected = {version: wished if proof is NEW_PROOF else proof for version, proof in proven.items()}
    assert {version: proof_of(made, version) for version in proven} == {
        version: {key: proof[key] for key in NO_PROOF} for version, proof in expected.items()
    }


def proof_of(made, version):
    return {key: proofs.of_version(made, version)[key] for key in NO_PROOF}


def test_a_version_whose_proof_nobody_knows_goes_back_without_one():
    known = {"versions": [8], "proofs": {"8": OLD_PROOF}, "previous": {"versions": [7]}}
    made = entry(planned(models=[rolled(**NEW_PROOF)], in_force={"ranker": known}, rollout={"ranker": "old"}))
    assert proof_of(made, 7) == NO_PROOF


def test_a_version_that_is_served_beside_the_one_in_force_gets_its_own_proof():
    wish = rolled(version=None, versions=[7, 8], serve={"versions": [7, 8], "labels": {"next": 8}}, **NEW_PROOF)
    found = {"ranker": {"versions": [7], "proofs": {"7": OLD_PROOF}}}
    both = entry(planned(models=[wish], in_force=found, rollout={"ranker": "both"}))
    assert (proof_of(both, 7)["contract"], list(both["proofs"])) == (OLD_PROOF["contract"], ["7"])
    # Once all that is wished is served, the wish says what proves all of it, and a further run changes nothing.
    made = planned(models=[wish], in_force=found, rollout={"ranker": "new"})
    assert "proofs" not in entry(made)
    assert planned(models=[wish], in_force=in_force.of_plan(made)) == made


# Golden requests --------------------------------------------------------------------------------------------------


@pytest.fixture
def filed(tmp_path):
    """Returns a function that plans a version of the model with the golden file of this version."""

    def made(version, found=None, stage="hold", before=None, **wish):
        file = tmp_path / "ranker.jsonl"
        file.write_text(json.dumps({"inputs": {"x": [1.0]}, "expect": {"y": [version / 10]}}))
        known = in_force.of_plan(found) if found else {}
        if before:
            known["ranker"]["previous"] = {"versions": [before]}
        policy = plan_policy.complete({"in_force": known, "rollout": {"ranker": stage}})
        asked = wishes.read(None, [rolled(version=version, golden="ranker.jsonl", **wish)], policy)
        golden.fill(asked.models, lambda _name: str(file))
        # A record is JSON.
        return json.loads(json.dumps(of_wishes(CPU_HOST, asked, policy, "")))

    return made


def expected_by(made):
    """Return what the golden requests of each version on the host expect."""
    known = entry(made)
    return {
        version: proofs.of_version(known, version)["golden"]["requests"][0]["expect"]["y"]
        for version in (*known["versions"], *known.get("protected", ()))
    }


def test_golden_requests_follow_their_version_through_a_whole_rollout(filed):
    first = filed(7)
    assert expected_by(first) == {7: [0.7]}
    held = filed(8, first)
    assert expected_by(held) == {7: [0.7]}
    both = filed(8, held, "both")
    assert expected_by(both) == {7: [0.7], 8: [0.8]}
    assert expected_by(filed(8, both)) == {7: [0.7], 8: [0.8]}
    new = filed(8, both, "new", before=7)
    assert expected_by(new) == {7: [0.7], 8: [0.8]}
    assert entry(new)["golden"]["requests"][0]["expect"]["y"] == [0.8]
    # site.yml after the roll-out changes nothing.
    assert filed(8, new, before=7) == new


def test_the_version_before_is_proven_by_its_own_golden_requests_on_the_way_back(filed):
    both = filed(8, filed(7), "both")
    new = filed(8, both, "new", before=7)
    for under_way, found in ((both, [0.7]), (new, [0.7])):
        back = filed(8, under_way, "old", before=7)
        assert entry(back)["golden"]["requests"][0]["expect"]["y"] == found
        # ... and stays so, while the inventory names the version that was reverted and is tried once more.
        assert expected_by(filed(8, back, before=7, rollout={"retry": True})) == {7: [0.7]}


def test_a_lower_version_is_proven_by_its_own_golden_requests(filed):
    first = filed(8)
    assert expected_by(filed(7, first)) == {8: [0.8]}
    both = filed(7, first, "both")
    assert expected_by(both) == {7: [0.7], 8: [0.8]}
    # The highest version answers callers who name none.
    assert entry(both)["golden"]["requests"][0]["expect"]["y"] == [0.8]
    assert expected_by(filed(7, first, "new")) == {7: [0.7], 8: [0.8]}


def test_a_golden_file_that_is_mended_counts_for_the_new_version_at_once(filed, tmp_path):
    both = filed(8, filed(7), "both")
    entry(both)["golden"]["requests"][0]["expect"]["y"] = [0.1]
    assert expected_by(filed(8, both)) == {7: [0.7], 8: [0.8]}


def test_a_host_that_joins_proves_the_held_version_by_the_requests_of_the_others(filed):
    held = filed(8, filed(7))
    assert expected_by(filed(8, held)) == {7: [0.7]}


def test_golden_requests_of_a_record_may_be_as_large_as_those_of_a_file(filed):
    made = filed(7)
    entry(made)["golden"]["requests"][0]["inputs"] = {"x": [[1.5] * 250_000], "text": "a" * 500_000}
    assert entry(filed(8, made))["golden"]["requests"] == entry(made)["golden"]["requests"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"requests": []}, "requests: is a list; give a list of 1 to 20 requests"),
        ({"requests": [{"inputs": {"x": [1]}}]}, "requests[0]: expects nothing; give expect, shape, dtype"),
        ({"requests": [{"inputs": {}, "must_fail": True}]}, "requests[0].inputs: is "),
        ({"more": 1}, "more: is not a key of golden requests"),
    ],
)
def test_golden_requests_of_a_damaged_record_are_refused(filed, change, sentence):
    made = filed(7)
    entry(made)["golden"] |= change
    with pytest.raises(WishError) as caught:
        filed(8, made)
    assert f"host_plan_policy.in_force.ranker.proofs.7.golden.{sentence}" in str(caught.value)


def test_a_model_without_proof_goes_back_without_one():
    known = {"ranker": {"versions": [8], "previous": {"versions": [7]}}}
    assert entry(planned(models=[rolled(probe=False)], in_force=known, rollout={"ranker": "old"}))["probe"] is False


def test_a_proof_that_is_recorded_is_read_back_as_it_was():
    first = planned(models=[rolled(version=7, memory_mb=900, **NEW_PROOF)], in_force={})
    again = planned(models=[rolled(memory_mb=900)], in_force=in_force.of_plan(first))
    assert "proofs" not in entry(again)
    keys = ("contract", "probe", "memory_mb", "serve", "versions")
    assert {key: entry(again)[key] for key in keys} == {key: entry(first)[key] for key in keys}


@pytest.mark.parametrize(
    ("wished", "known", "size"), [(900, 700, 900), (700, 900, 900), (700, None, 700), (None, 9, None)]
)
def test_the_larger_of_two_versions_counts_while_one_waits(wished, known, size):
    keys = {"memory_mb": known} if known else {}
    made = planned(models=[rolled(memory_mb=wished)], in_force={"ranker": {"versions": [7], **keys}})
    assert entry(made)["memory_mb"] == size


# Back, and what stays on disk -------------------------------------------------------------------------------------


def test_the_way_back_is_what_the_record_of_the_rollout_says():
    known = {"versions": [8], "previous": {"versions": [7], "labels": {"stable": 7}}}
    made = planned(in_force={"ranker": known}, rollout={"ranker": "old"})
    assert entry(made)["serve"] == {"versions": [7], "labels": {"stable": 7}}
    assert entry(made)["protected"] == [8]


def test_on_the_way_back_every_label_leads_somewhere():
    known = {"versions": [7, 8], "labels": {"stable": 8, "old": 7}, "previous": {"versions": [7]}}
    made = planned(in_force={"ranker": known}, rollout={"ranker": "old"})
    assert entry(made)["serve"] == {"versions": [7], "labels": {"stable": 7, "old": 7}}


def test_a_host_in_the_middle_of_a_rollout_goes_back_without_such_a_record():
    made = planned(in_force={"ranker": {"versions": [7, 8], "labels": {"stable": 7}}}, rollout={"ranker": "old"})
    assert entry(made)["serve"] == {"versions": [7], "labels": {"stable": 7}}


def test_without_a_version_before_there_is_no_way_back():
    with pytest.raises(WishError) as caught:
        planned(in_force={"ranker": {"versions": [8]}}, rollout={"ranker": "old"})
    assert str(caught.value) == (
        "tfserving_models[0].rollout: has no version to go back to: this host knows of none before 8; name the version"
        " to go back to in version, and take it through rollout.yml"
    )


@pytest.mark.parametrize(
    ("stage", "known", "stays"),
    [
        ("new", {"versions": [7]}, [7]),
        ("new", {"versions": [7, 8]}, [7]),
        ("hold", {"versions": [8], "previous": {"versions": [5]}}, [5]),
        ("hold", {"versions": [7], "previous": {"versions": [6]}}, [6]),
        ("old", {"versions": [7, 8]}, [8]),
    ],
)
def test_the_version_for_a_rollback_is_not_pruned(stage, known, stays):
    made = planned(models=[rolled(keep=1)], in_force={"ranker": known}, rollout={"ranker": stage})
    assert entry(made)["protected"] == stays


@pytest.mark.parametrize(
    ("source", "provided"),
    [
        ({"type": "path", "uri": "/srv/{version}"}, [7]),
        ({"type": "path", "uri": "/srv/new"}, []),
        ({"type": "http", "uri": "https://m/{version}.tgz", "sha256": "a" * 64}, []),
        ({"type": "http", "uri": "https://m/{version}.tgz", "sha256": {8: "a" * 64}}, []),
        ({"type": "http", "uri": "https://m/{version}.tgz", "sha256": {7: "b" * 64, 8: "a" * 64}}, [7]),
    ],
)
def test_a_held_version_comes_from_a_source_only_where_that_has_it_for_sure(source, provided):
    made = planned(models=[rolled(source=source)])
    assert (entry(made)["versions"], entry(made)["provided"]) == ([7], provided)


# Refusals ---------------------------------------------------------------------------------------------------------


def test_a_version_that_was_reverted_is_refused_with_its_reason():
    sentence = (
        "tfserving_models[0].version: names 8, which a roll-out has reverted: p99 rose from 20 to 90 ms; name another"
        " version, or set rollout.retry to true to try it once more"
    )
    reverted = {"ranker": {"8": "p99 rose from 20 to 90 ms"}}
    for stage in ("hold", "both", "new"):
        policy = {"in_force": SEVEN, "reverted": reverted, "rollout": {"ranker": stage}}
        assert refusal(models=[rolled()], **policy) == sentence
    assert refusal(models=[rolled()], reverted=reverted) == sentence


@pytest.mark.parametrize(
    ("wish", "known", "stage"),
    [
        (rolled(rollout={"retry": True}), SEVEN, "hold"),
        (rolled(version=9), SEVEN, "hold"),
        (rolled(), {"ranker": {"versions": [8]}}, "hold"),
        (rolled(), SEVEN, "old"),
    ],
    ids=["retried", "another", "in-force", "going-back"],
)
def test_a_reverted_version_stands_in_no_other_way(wish, known, stage):
    planned(models=[wish], in_force=known, reverted={"ranker": {8: "slow"}}, rollout={"ranker": stage})


def test_a_retry_that_is_left_after_the_version_has_arrived_is_told():
    wish = rolled(rollout={"retry": True})
    warning = (
        "tfserving_models[0].rollout.retry: is true, and every wished version is in force; remove it, or the next"
        " version that is reverted will be tried again unasked"
    )
    arrived = {"ranker": {"versions": [8]}}
    assert warning in planned(models=[wish], in_force=arrived)["warnings"]
    for known, stages, models in (
        (SEVEN, {}, [wish]),
        (SEVEN, {"ranker": "both"}, [wish]),
        ({}, {}, [wish]),
        (arrived, {}, [rolled()]),
    ):
        assert warning not in planned(models=models, in_force=known, rollout=stages)["warnings"]


def test_what_a_host_that_joins_has_not_seen_is_refused_there_too():
    served = {"plan": plan(CPU_HOST, None, [model(version=7)])}
    served["rollouts"] = {"ranker": {"age": [1, 1], "old": 7, "new": 8, "reverted": {"8": "slow"}}}
    fresh = {"plan": {}, "rollouts": {}}
    known = in_force.of_host(fresh, in_force.of_fleet([served, fresh]))
    assert "names 8, which a roll-out has reverted: slow; name another" in refusal(models=[rolled()], **known)


def test_what_the_rest_of_the_fleet_serves_is_not_guessed():
    hosts = [f"h{number}" for number in range(1, 7)]
    assert refusal(models=[rolled()], unseen=hosts) == (
        "tfserving_models[0].rollout: leaves 'ranker' as the fleet serves it, and no host of this run has a record that"
        " says how; h1, h2, h3 and 3 other hosts may serve another version; run it together with such a host, or, where"
        " nothing serves yet, set host_plan_rollout: {ranker: new}"
    )
    assert planned(in_force={}, unseen=hosts, rollout={"ranker": "new"}) == planned(in_force={})


def test_a_stage_of_a_model_without_a_rollout_is_refused():
    assert refusal(models=[model()], rollout={"ranker": "both"}) == (
        "host_plan_rollout.ranker: has no rollout in tfserving_models; give it one, or leave it out here"
    )
    assert plan(CPU_HOST, rollout={"elsewhere": "both"}) == plan(CPU_HOST)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (
            {"rollout": {"ranker": "bth"}},
            "host_plan_rollout.ranker: is the string 'bth'; did you mean 'both'?",
        ),
        (
            {"rollout": ["ranker"]},
            "host_plan_rollout: is a list; give a mapping with the name of a model as each key",
        ),
        (
            {"overrides": {"rollout": {"ranker": "new"}}},
            "host_plan_policy.rollout: has a variable of its own; set host_plan_rollout instead",
        ),
        (
            {"overrides": {"reverted": {}}},
            "host_plan_policy.reverted: is read from the hosts; remove it",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy, sentence):
    assert refusal(models=[rolled()], **policy) == sentence


@pytest.mark.parametrize(("serve", "says"), [({"latest": 2}, "latest"), ({"all": True}, "all")])
def test_a_rollout_needs_versions_by_number(serve, says):
    assert refusal(models=[rolled(serve=serve)]) == (
        f"tfserving_models[0].serve: says {says}, and a roll-out needs versions by number;"
        " write serve: {versions: [8]}, or leave it out"
    )


# Memory -----------------------------------------------------------------------------------------------------------

# 512 MB for the process and 1.2 times the models: two versions take all of 10,000 MB, and three do not fit.
TWO_FIT = {"memory": {"system_share": 0, "system_least_mb": 0}}


def memory_of(machine_mb, size, **policy):
    machine = cases.machines.topology(sockets=1, cores=4, smt=1, memory_mb=machine_mb)
    made = planned(machine=machine, models=[rolled(memory_mb=size)], **TWO_FIT, **policy)
    return made["instances"][0]["memory"]["expected_mb"]


@pytest.mark.parametrize(
    ("stage", "known"), [("hold", [7]), ("both", [7]), ("hold", [7, 8]), ("both", [7, 8]), ("new", [7]), ("old", [7])]
)
def test_a_rollout_takes_the_memory_of_both_versions_and_no_more(stage, known):
    known = {"ranker": {"versions": known}}
    assert memory_of(10_000, 3_900, in_force=known, rollout={"ranker": stage}) == 512 + 1.2 * 2 * 3_900


@pytest.mark.parametrize(("stage", "known"), [("hold", [9]), ("both", [9]), ("new", [9]), ("old", [8, 9])])
def test_a_lower_version_takes_the_memory_of_both_as_well(stage, known):
    known = {"ranker": {"versions": known}}
    assert memory_of(10_000, 3_900, in_force=known, rollout={"ranker": stage}) == 512 + 1.2 * 2 * 3_900


def test_each_instance_that_serves_the_model_takes_the_memory_of_both():
    instances = [instance("a", cpus=1), instance("b", cpus=1, ports={"grpc": 9500, "rest": 9501})]
    machine = cases.machines.topology(sockets=1, cores=8, smt=1, memory_mb=20_000)
    for stage in ("hold", "both", "new", "old"):
        made = planned(
            machine=machine, instances=instances, models=[rolled(memory_mb=1_000)], rollout={"ranker": stage}, **TWO_FIT
        )
        assert [each["memory"]["expected_mb"] for each in made["instances"]] == [512 + 1.2 * 2 * 1_000] * 2


def test_both_versions_are_refused_where_the_instances_together_do_not_fit():
    instances = [instance("a", cpus=1), instance("b", cpus=1, ports={"grpc": 9500, "rest": 9501})]
    machine = cases.machines.topology(sockets=1, cores=8, smt=1, memory_mb=5_000)
    with pytest.raises(WishError, match=r"hold 'ranker' with all versions of its roll-out side by side, which takes"):
        planned(
            machine=machine,
            instances=instances,
            models=[rolled(memory_mb=1_000)],
            rollout={"ranker": "both"},
            **TWO_FIT,
        )


def test_a_rollout_of_two_versions_at_a_time_takes_the_memory_of_four():
    wish = rolled(version=None, versions=[8, 9], serve={"versions": [8, 9]}, memory_mb=1000)
    known = {"ranker": {"versions": [6, 7]}}
    for stage in ("hold", "both", "new"):
        made = planned(models=[wish], in_force=known, rollout={"ranker": stage})
        assert made["instances"][0]["memory"]["expected_mb"] == 512 + 1.2 * 4 * 1000


@pytest.mark.parametrize("may_drain", [False, True])
def test_both_versions_are_refused_where_they_do_not_fit(may_drain):
    with pytest.raises(WishError) as caught:
        memory_of(10_000, 4_000, rollout={"ranker": "both"}, drain_then_swap=may_drain)
    assert str(caught.value) == (
        "tfserving_instances[0].models: hold 'ranker' with all versions of its roll-out side by side, which takes 10112"
        " MB of the host's memory, and there are 10000 MB; give it more memory, serve fewer models or versions here, or"
        " move some to another host"
    )


def test_both_versions_are_refused_where_a_gpu_is_too_small():
    wish = rolled(memory_mb=45_000)
    with pytest.raises(WishError, match=r"side by side, which takes 90000 MB of GPU memory"):
        planned(
            machine=box(1),
            instances=[instance(gpus=1)],
            models=[wish],
            rollout={"ranker": "both"},
            **cases.IMAGE,
        )


def test_other_models_drain_before_a_rollout_is_refused():
    models = [rolled(memory_mb=1_000), model("large", memory_mb=5_000)]
    machine = cases.machines.topology(sockets=1, cores=4, smt=1, memory_mb=10_000)
    made = planned(machine=machine, models=models, rollout={"ranker": "both"}, drain_then_swap=True, **TWO_FIT)
    assert made["instances"][0]["swap"] == {"ranker": "hot", "large": "drain"}


# Whatever the machine and the wishes ------------------------------------------------------------------------------

SERVED = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)
STAGES = st.sampled_from(["hold", "both", "new", "old"])


@st.composite
def moves(draw):
    """Draw wishes whose models may have roll-outs, and what is known of them."""
    instances, models = draw(cases.wishes())
    known = {}
    for each in models:
        if draw(st.booleans()):
            each["rollout"] = {}
        if draw(st.booleans()):
            known[each["name"]] = {"versions": draw(SERVED)}
            if draw(st.booleans()):
                known[each["name"]]["previous"] = {"versions": draw(SERVED)}
    stages = {each["name"]: draw(STAGES) for each in models if "rollout" in each and draw(st.booleans())}
    return (instances, models), {**cases.IMAGE, "in_force": known, "rollout": stages}


def granted(topology, wishes, policy):
    try:
        return host_plan(topology, *wishes, policy)
    except WishError:
        assume(False)


@given(cases.topologies(), moves())
def test_no_held_version_moves_and_no_served_one_is_missing_or_pruned(topology, move):
    wishes, policy = move
    made = granted(topology, wishes, policy)
    assert typed.misfits(made, Plan) == []
    for each, wish in zip(made["models"], wishes[1]):
        known = policy["in_force"].get(each["name"])
        served = each["serve"]["versions"]
        stage = policy["rollout"].get(each["name"], "hold")
        assert set(served) <= set(each["versions"])
        assert set(each["provided"]) <= set(each["versions"])
        if known and "rollout" in wish:
            assert stage != "hold" or served == sorted(known["versions"])
            assert stage != "both" or served == sorted({*known["versions"], wish["version"]})
            assert set(known["versions"]) <= {*each["versions"], *each.get("protected", ())}
        else:
            assert served == [wish["version"]]


@given(cases.topologies(), cases.wishes(), st.booleans())
def test_a_plan_without_rollouts_is_the_same_whatever_is_known(topology, wishes, leave):
    policy = {**cases.IMAGE, "drain_then_swap": leave}
    known = {each["name"]: {"versions": [3], "previous": {"versions": [2]}} for each in wishes[1]}
    told = {"in_force": known, "reverted": {name: {"7": "slow"} for name in known}, "unseen": ["h9"], "rollout": {}}
    made = granted(topology, wishes, policy)
    assert json.dumps(host_plan(topology, *wishes, {**policy, **told})) == json.dumps(made)


@given(cases.topologies(), moves())
def test_planning_a_rollout_changes_none_of_its_input(topology, move):
    before = copy.deepcopy((topology, move))
    granted(topology, *move)
    assert (topology, move) == before
