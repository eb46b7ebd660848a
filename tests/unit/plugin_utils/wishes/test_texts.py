# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and truths that templates and ``-e`` have made texts of."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan, jemalloc
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from planner_cases import box, instance, model
from wish_cases import DIGEST, HTTP, problems, read


def test_plain_digits_are_the_numbers_that_they_are():
    source = {**HTTP, "sha256": {"2": DIGEST, "3": DIGEST}}
    given = model(source=source, version=None, versions=["2", 3], keep="4", memory_mb="100")
    given["serve"] = {"versions": ["2"], "labels": {"stable": "2"}}
    wish = instance(gpus="1", cpus="2", ports={"grpc": "9000", "rest": "9001"}, slo_p99_ms="50", weight="2")
    wish["batching"] = {"max_batch_size": "8", "allowed_batch_sizes": ["4", "8"]}
    found = read([wish], [given])
    one, (ranker,) = found.instances[0], found.models.values()
    assert (one.gpus, one.cpus, one.ports, one.slo_p99_ms, one.weight) == (1, 2, {"grpc": 9000, "rest": 9001}, 50, 2)
    assert one.batching == {"max_batch_size": 8, "allowed_batch_sizes": [4, 8]}
    assert (ranker.versions, ranker.keep, ranker.memory_mb) == ([2, 3], 4, 100)
    assert ranker.serve == {"versions": [2], "labels": {"stable": 2}}
    assert ranker.source["sha256"] == {"2": DIGEST, "3": DIGEST}


@pytest.mark.parametrize(
    "text", ["010", "1e3", "+1", " 1 ", "1_000", "\u0661", "1.0", "0x10", "-1", "", "1\n", "9" * 20]
)
@pytest.mark.parametrize("key", ["version", "keep", "memory_mb"])
def test_other_ways_to_write_a_number_are_refused(key, text):
    (found,) = problems(models=[model(**{key: text})])
    assert found.startswith(f"tfserving_models[0].{key}: is ")
    assert found.endswith("in plain decimal digits")


@pytest.mark.parametrize(("text", "number"), [("0.5", 0.5), ("2.50", 2.5), ("2", 2)])
def test_a_fraction_may_be_text_of_plain_digits_too(text, number):
    wish = instance(weight=text, slo_p99_ms=text, batching={"expected_batch_ms": text})
    one = read([wish]).instances[0]
    assert (one.weight, one.slo_p99_ms, one.batching["expected_batch_ms"]) == (number, number, number)


def test_bounds_are_written_as_people_write_numbers():
    assert problems([instance(batching={"expected_batch_ms": 0})]) == [
        "tfserving_instances[0].batching.expected_batch_ms: is the number 0; give milliseconds from 0.001 to 86400000"
    ]


@pytest.mark.parametrize(
    "text", [".5", "5.", "00.5", "+0.5", "-0.5", "0,5", "1e-1", "0.5 ", "0_1.5", "\u0660.5", "nan"]
)
def test_other_ways_to_write_a_fraction_are_refused(text):
    (found,) = problems([instance(weight=text)])
    assert found.endswith("give a number from 0.001 to 1000000 in plain decimal digits")


def test_settings_of_the_policy_may_be_text_as_well():
    given = {"housekeeping": {"largest_share": "0.25"}, "profiles": {"latency": {"batch_share": "0.5"}}}
    found = plan_policy.complete(given)
    assert (found["housekeeping"]["largest_share"], found["profiles"]["latency"]["batch_share"]) == (0.25, 0.5)


def test_flags_may_be_text_where_their_type_tells_what_is_meant():
    flags = {"grpc_max_threads": "64", "enable_profiler": "True", "per_process_gpu_memory_fraction": "0.5"}
    flags |= {"tensorflow_session_config_file": "7", "mixed_precision": "true", "max_num_load_retries": "010"}
    found = read([instance(flags=flags)]).instances[0].flags
    assert found == {
        **flags,
        "grpc_max_threads": 64,
        "enable_profiler": True,
        "per_process_gpu_memory_fraction": 0.5,
    }


def test_a_flag_from_a_template_is_planned_like_the_number():
    text, number = (host_plan(box(), [instance(flags={"grpc_max_threads": each})], [model()]) for each in ("64", 64))
    assert text == number


def test_the_allocators_options_may_be_text_as_well():
    given = {"narenas": "4", "background_thread": "False", "dirty_decay_ms": "-1", "narenas_ratio": "0.5"}
    conf = jemalloc.environment("custom", given, "x86_64")["MALLOC_CONF"]
    assert conf == "narenas:4,background_thread:false,dirty_decay_ms:-1,narenas_ratio:0.5"


def test_settings_of_gpus_may_be_text_as_well():
    gpus = [{"uuid": "GPU-1", "index": "0", "name": "H100"}]
    given = [{"power_limit_w": "400", "ecc": "True", "graphics_clock_mhz": ["600", "1500"]}]
    found = gpu_setting_wishes.wishes(given, gpus)["GPU-1"]
    assert {key: wish.value for key, wish in found.items()} == {
        "power_limit_w": 400,
        "ecc": True,
        "graphics_clock_mhz": [600, 1500],
    }


@pytest.mark.parametrize("size", [-1, "-1", None])
def test_a_free_dimension_may_be_text_too(size):
    wish = {"inputs": {"x": {"shape": [size, "16"]}}}
    assert read(None, [model(contract=wish)]).models["ranker"].contract["inputs"]["x"]["shape"] == [-1, 16]


@pytest.mark.parametrize("text", ["false", "False"])
def test_no_proof_may_be_asked_for_in_text(text):
    assert read(None, [model(probe=text)]).models["ranker"].probe is False


@pytest.mark.parametrize("text", ["true", "True"])
def test_all_versions_may_be_asked_for_in_text(text):
    assert read(None, [model(serve={"all": text})]).models["ranker"].serve == {"all": True}


def test_no_share_of_the_cores_leaves_none_for_the_system():
    (found,) = refusals_of_policy({"housekeeping": {"largest_share": 0}})
    assert found == "host_plan_policy.housekeeping.largest_share: is the number 0; give a share from 0.001 to 1"


def refusals_of_policy(policy):
    with pytest.raises(WishErrors) as refused:
        plan_policy.complete(policy)
    return [str(error) for error in refused.value.errors]


def test_leading_zeros_are_refused_in_one_sentence():
    assert problems([instance(ports={"grpc": "010"})]) == [
        "tfserving_instances[0].ports.grpc: is the string '010'; give a port from 1 to 65535 in plain decimal digits"
    ]


def test_a_version_that_has_two_digests_is_refused():
    (found,) = problems(models=[model(source={**HTTP, "sha256": {7: DIGEST, "7": DIGEST}})])
    assert found == "tfserving_models[0].source.sha256.7: is given twice, as a number and as text; keep one of them"


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("True", True), ("false", False), ("False", False)])
def test_the_text_that_a_template_makes_of_a_truth_is_one(text, truth):
    found = read(None, [model(source={"type": "path", "uri": "/srv/x", "remote": text})])
    assert found.models["ranker"].source["remote"] is truth


@pytest.mark.parametrize("text", ["yes", "on", "1", "TRUE", "", " true"])
def test_other_texts_are_no_truths(text):
    (found,) = problems(models=[model(source={"type": "path", "uri": "/srv/x", "remote": text})])
    assert found.startswith("tfserving_models[0].source.remote: is ")
