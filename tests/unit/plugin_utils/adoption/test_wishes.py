# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host's old servers become as wishes, what no wish can say, and that no secret and no template gets through."""

from __future__ import annotations

import adopted_servers as old
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.case import cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.findings import findings
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.unsafe import document
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.wishes import host_wishes
from planner_cases import CPU_HOST, ONE_CPU, box

ONE = ("--port=9000", "--model_name=ranker", "--model_base_path=/models/ranker")


def wishes(*servers, machine=CPU_HOST, **keys):
    return host_wishes(old.survey(*servers, **keys), machine)


def model_wish(**keys):
    (found,) = wishes(old.unit(*ONE, **keys)).variables["tfserving_models"]
    return found


def instance_wish(*words, machine=CPU_HOST, **keys):
    (found,) = wishes(old.unit(*ONE, *words, **keys), machine=machine).variables["tfserving_instances"]
    return found


def unwished(*servers, **keys):
    return [
        (each.server, each.what, each.why) for each in wishes(*servers, **keys).unwished if "release" not in each.what
    ]


def configured(policy, versions=(3, 4), served=(), **keys):
    """Return a server whose models file has this policy."""
    return old.unit(
        "--port=9000",
        old.CONFIGURED,
        "--allow_version_labels_for_unavailable_models",
        files=old.files(more=policy),
        models=[old.model(versions=versions)],
        serves=old.serving("ranker", *served) if served else None,
        **keys,
    )


def served(server):
    (found,) = wishes(server).variables["tfserving_models"]
    return {key: found[key] for key in ("version", "versions", "serve") if key in found}


def test_a_model_comes_from_where_it_lies_with_the_checksum_of_what_is_served():
    assert model_wish() == {
        "name": "ranker",
        "version": 4,
        "source": {
            "type": "path",
            "remote": True,
            "uri": "/srv/old/models/ranker/{version}",
            "sha256": {"4": old.TREE},
        },
    }


def test_what_it_really_serves_counts_and_not_what_its_file_says():
    assert model_wish(serves=old.serving("ranker", 3))["version"] == 3


def test_without_an_answer_the_policy_counts():
    assert served(configured("")) == {"version": 4}
    assert served(configured("model_version_policy { latest { num_versions: 2 } }")) == {
        "versions": [3, 4],
        "serve": {"latest": 2},
    }
    assert served(configured("model_version_policy { all { } }")) == {"versions": [3, 4], "serve": {"all": True}}
    assert served(configured("model_version_policy { specific { versions: 3 } }")) == {"version": 3}


def test_labels_come_with_the_versions_that_they_are_on():
    labels = "model_version_policy { specific { versions: [3, 4] } } version_labels { key: 'stable' value: 3 }"
    assert served(configured(labels, served=(3, 4))) == {
        "versions": [3, 4],
        "serve": {"versions": [3, 4], "labels": {"stable": 3}},
    }


def test_a_checksum_that_is_missing_is_left_out():
    assert "sha256" not in model_wish(models=[old.model(sha256={})])["source"]


def test_what_cannot_be_wished_is_told_with_its_reason():
    far = old.unit(
        "--model_base_path=gs://store/ranker", models=[old.model("default", "gs://store/ranker", (), host_path=None)]
    )
    named = old.unit("--model_base_path=/m", "--model_name=my model", models=[old.model("my model", "/m")])
    braces = old.unit(*ONE, models=[old.model(host_path="/srv/{{ x }}")])
    nothing = old.unit(*ONE, models=[old.model(versions=())], serves=[])
    hidden = old.unit(*ONE, models=[old.model(host_path=None)], serves=old.serving())
    assert [unwished(each)[0][1:] for each in (far, named, braces, nothing, hidden)] == [
        ("the model default", "it is read from gs://store/ranker"),
        ("the model my model", "its name is no name of a model here"),
        ("the model ranker", "its path holds braces"),
        ("the model ranker", "no version of it is served"),
        ("the model ranker", "its base path /models/ranker is not on the host"),
    ]


def test_two_models_of_one_name_cannot_stand_on_one_host():
    other = old.unit("--port=9001", *ONE[1:], models=[old.model(host_path="/srv/other")], name="other.service")
    told = unwished(old.unit(*ONE), other)
    assert told[0][:2] == ("other", "the model ranker")
    assert told[0][2] == (
        "another server of the host serves one of this name from /srv/old/models/ranker, and a host has one model of a"
        " name"
    )
    other = old.unit("--port=9001", *ONE[1:], serves=old.serving("ranker", 3), name="other.service")
    assert "serves other versions or labels of it" in unwished(old.unit(*ONE), other)[0][2]


def test_the_same_model_of_two_servers_is_one_wish():
    other = old.unit("--port=9001", *ONE[1:], name="other.service")
    found = wishes(old.unit(*ONE), other).variables
    assert len(found["tfserving_models"]) == 1
    assert [each["name"] for each in found["tfserving_instances"]] == ["ranker", "other"]


def test_names_of_instances_are_fit_for_units_and_differ():
    strange = [old.unit(*ONE, name="my server@1.service"), old.docker(kind="compose"), old.unit(*ONE, name="///")]
    strange[1]["origin"]["name"] = "shop/serving"
    strange[1]["models"] = [old.model("model")]
    names = list(wishes(*strange).names.values())
    assert names == ["my-server-1", "shop-serving", "main"]


def test_a_figure_that_the_planner_refuses_is_told_in_its_own_words():
    found = wishes(old.unit(*ONE, "--rest_api_num_threads=1", "--tensorflow_session_parallelism=9"), machine=ONE_CPU)
    told = {each.what: each.why for each in found.unwished}
    assert "with a single one every REST call hangs" in told["flags.rest_api_num_threads"]
    assert "the instance is pinned to 1 CPU" in told["flags.tensorflow_intra_op_parallelism"]
    assert "flags" not in found.variables["tfserving_instances"][0]
    lost = [row.setting for row in found.rows["ranker"] if row.fate == "lost"]
    assert lost == ["rest_api_num_threads", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"]


def test_a_host_that_cannot_be_planned_is_told_and_its_models_are_written():
    arm = {**CPU_HOST, "architecture": "aarch64"}
    found = wishes(old.unit(*ONE, "--grpc_max_threads=7"), machine=arm)
    assert found.plan is None
    assert found.variables["tfserving_instances"] == [
        {
            "name": "ranker",
            "models": ["ranker"],
            "flags": {"grpc_max_threads": 7},
            "ports": {"grpc": 9000},
            "batching": {"enabled": False},
        }
    ]
    assert "upstream builds x86_64 only, and this host is aarch64" in found.unwished[-1].why
    assert found.variables["tfserving_models"][0]["name"] == "ranker"


def test_a_secret_is_a_place_in_a_vault():
    server = old.unit(*ONE, environment={"TF_TOKEN": "***", "HTTPS_PROXY": "***", "TF_CPP_VMODULE": "x=1"})
    found = wishes(server)
    assert found.variables["tfserving_instances"][0]["environment"] == {
        "TF_TOKEN": "{{ vault_ranker_tf_token }}",
        "HTTPS_PROXY": "{{ vault_ranker_https_proxy }}",
        "TF_CPP_VMODULE": "x=1",
    }
    assert found.secrets == ["vault_ranker_tf_token", "vault_ranker_https_proxy"]
    text = document(found.variables, found.notes, "x")
    assert 'TF_TOKEN: "{{ vault_ranker_tf_token }}"' in text
    assert "***" not in text


def test_tls_is_wished_by_the_places_of_its_parts():
    found = wishes(old.unit(*ONE, "--ssl_config_file=/etc/tls", files={"ssl_config_file": old.text("/etc/tls", None)}))
    assert found.variables["tfserving_tls_key"] == "{{ vault_tfserving_tls_key }}"
    assert found.plan["instances"][0]["flags"]["ssl_config_file"]


def test_variables_without_an_effect_stay_behind():
    dead = {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_GPU_MEMORY_FRACTION": "0.3",
        "MALLOC_ARENA_MAX": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "MODEL_NAME": "x",
        "BAD NAME": "1",
    }
    assert "environment" not in instance_wish(environment=dead)


def test_a_variable_that_the_plan_sets_itself_is_no_override():
    server = old.docker(*ONE, environment={"TF_FORCE_GPU_ALLOW_GROWTH": "true"}, gpus=["GPU-0000"])
    (found,) = wishes(server, machine=box(1)).variables["tfserving_instances"]
    assert found["gpus"] == [0]
    assert "environment" not in found


def test_the_path_of_metrics_stays_as_its_readers_know_it():
    content = {"monitoring_config_file": old.text("/m", "prometheus_config { enable: true path: '/metrics' }")}
    found = wishes(old.unit(*ONE, "--rest_api_port=9001", "--monitoring_config_file=/m", files=content))
    assert found.variables["host_plan_policy"] == {"metrics_path": "/metrics"}
    assert found.plan["instances"][0]["monitoring"]["prometheus_config"]["path"] == "/metrics"


def test_templates_of_a_host_are_text():
    evil = "{{ lookup('pipe', 'touch /tmp/owned') }}"
    server = old.unit(*ONE, f"--saved_model_tags={evil}", environment={"TF_CPP_VMODULE": "{% raw %}"})
    found = wishes(server)
    text = document(found.variables, found.notes, evil)
    assert f'saved_model_tags: !unsafe "{evil}"' in text
    assert 'TF_CPP_VMODULE: !unsafe "{% raw %}"' in text
    nodes = yaml.compose(text, yaml.SafeLoader)
    assert nodes is not None


def test_a_comment_cannot_end_its_line():
    text = document({"a": 1}, {("a",): "x\nevil: true\u2028more: 1"}, "h\ni: 2")
    assert yaml.safe_load(text) == {"a": 1}


def test_a_stopped_launcher_is_told_and_not_wished():
    launcher = {"kind": "docker", "name": "old", "argv": ["tensorflow_model_server", *ONE]}
    found = wishes(launchers=[launcher])
    assert found.variables["tfserving_models"] == []
    assert [(each.server, each.why) for each in found.unwished] == [("old", "it does not run")]


def test_findings_and_wishes_leave_a_survey_as_it_was():
    survey = old.survey(old.EXAMPLES[0].server)
    before = repr(survey)
    findings(cases(survey))
    host_wishes(survey, CPU_HOST)
    assert repr(survey) == before
