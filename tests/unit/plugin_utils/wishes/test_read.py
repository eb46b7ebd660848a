# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an inventory may wish for, and the sentence that refuses what it may not."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import contract as wish_contract
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from planner_cases import instance, model

DIGEST = "0123456789abcdef" * 4
HTTP = {"type": "http", "uri": "https://models.example.com/ranker/{version}.tar.gz", "sha256": DIGEST}
FIXED = {"type": "path", "uri": "/srv/ranker"}


def read(instances=None, models=None, **policy):
    models = [model()] if models is None else models
    return wishes.read(instances, models, plan_policy.complete(policy))


def problems(instances=None, models=None, **policy):
    return wishes.problems(instances, [model()] if models is None else models, policy)


def test_one_model_is_a_complete_inventory():
    (only,) = read().instances
    assert (only.name, only.models, only.ports) == ("main", ["ranker"], {"grpc": 8500, "rest": 8501})


def test_a_host_without_wishes_has_nothing_to_refuse():
    assert problems([], []) == []


def test_each_instance_has_ports_of_its_own_by_default():
    found = read([instance("a"), instance("b", ports={"rest": 9000})]).instances
    assert [each.ports for each in found] == [{"grpc": 8500, "rest": 8501}, {"grpc": 8510, "rest": 9000}]


def test_keys_without_a_value_count_as_not_given():
    (found,) = read([instance(slo_p99_ms=None, cpus=None, gpus=None, batching=None)]).instances
    assert (found.slo_p99_ms, found.cpus, found.gpus, found.batching) == (None, None, 0, {})


def test_reading_changes_nothing_of_the_wishes():
    given = [instance(environment={"A": 1}, flags={"x": None})], [model(source=HTTP, versions=[7], version=None)]
    before = copy.deepcopy(given)
    read(*given)
    assert given == before


MODELS = [
    ({"verion": 3}, "tfserving_models[0].verion: is not a key of a model; did you mean 'version'?"),
    ({"tint": "red"}, "tfserving_models[0].tint: is not a key of a model; the keys of a model are name, source, "),
    ({"name": None}, "tfserving_models[0].name: is missing; give a model a name"),
    (
        {"name": "a/b"},
        "tfserving_models[0].name: is the string 'a/b', which cannot be a name; use letters, digits, '.'",
    ),
    ({"name": "a:b"}, "which cannot be a name"),
    ({"name": "-x"}, "beginning with a letter or digit"),
    ({"name": 7}, "tfserving_models[0].name: is the number 7, which cannot be a name; write the name in quotes"),
    (
        {"version": "07"},
        "tfserving_models[0].version: is the string '07'; give a version, which is a whole number",
    ),
    ({"version": 0}, "tfserving_models[0].version: is the number 0; give a version"),
    ({"version": -1}, "tfserving_models[0].version: is the number -1"),
    ({"version": 7.5}, "tfserving_models[0].version: is the fraction 7.5"),
    ({"version": True}, "tfserving_models[0].version: is the boolean true"),
    ({"version": 2**63}, "tfserving_models[0].version: is a number beyond 64 bits; stay within"),
    ({"version": None}, "tfserving_models[0].version: is missing; give either version (one) or versions (a list)"),
    ({"versions": [6, 7]}, "tfserving_models[0].version: repeats what versions says; give either version"),
    ({"versions": [], "version": None}, "tfserving_models[0].versions: is an empty list; name at least one"),
    ({"versions": [7, 7], "version": None}, "tfserving_models[0].versions[1]: names 7 a second time; leave it out"),
    ({"source": None}, "tfserving_models[0].source: is missing; say where the model comes from"),
    ({"source": "/srv/x"}, "tfserving_models[0].source: is a string; give a source as a mapping"),
    ({"source": {"type": "path"}}, "tfserving_models[0].source.uri: is missing"),
    ({"source": {"uri": "/srv"}}, "tfserving_models[0].source.type: is missing"),
    ({"source": {**FIXED, "type": "s3-compatible"}}, "source.type: is the string 's3-compatible'; did you mean 's3'?"),
    (
        {"source": {**FIXED, "type": "htp"}},
        "tfserving_models[0].source.type: is the string 'htp'; did you mean 'http'?",
    ),
    (
        {"source": {**FIXED, "url": "x"}},
        "tfserving_models[0].source.url: is not a key of a source; did you mean 'uri'?",
    ),
    ({"source": {**FIXED, "uri": "https://x.example/y"}}, "source.uri: begins with a scheme such as https://, but"),
    (
        {"source": {**FIXED, "uri": "/srv/{name}"}},
        "source.uri: holds a placeholder other than {version}; only {version} is filled in",
    ),
    (
        {"source": {**FIXED, "headers": {}}},
        "source.headers: means nothing for the type path; leave it out or use type http",
    ),
    ({"source": {**HTTP, "remote": True}}, "source.remote: means nothing for the type http"),
    ({"source": {**FIXED, "remote": "yes"}}, "source.remote: is the string 'yes'; give true or false"),
    ({"source": {**HTTP, "uri": "ftp://x.example/y"}}, "begin it with https://HOST/ or http://HOST/"),
    ({"source": {**HTTP, "uri": "https:///y"}}, "begin it with https://HOST/"),
    (
        {"source": {**HTTP, "uri": "https://me:secret@x.example/y"}},
        "source.uri: holds a password, which would show up in",
    ),
    (
        {"source": {**HTTP, "sha256": None}},
        "source.sha256: is missing, and downloads are only taken when their digest is",
    ),
    ({"source": {**HTTP, "sha256": "abc"}}, "source.sha256: is the string 'abc'; give the 64 hexadecimal digits that"),
    (
        {"source": {**HTTP, "sha256": {6: DIGEST}}},
        "source.sha256: holds no digest of version 7; map each version to its",
    ),
    ({"source": {**HTTP, "sha256": {"x": DIGEST}}}, "source.sha256.x: is the string 'x'; give a version"),
    ({"source": HTTP, "version": None, "versions": [6, 7]}, "source.sha256: holds no digest of version 6, 7"),
    ({"source": HTTP, "serve": {"versions": [6, 7]}}, "source.sha256: holds no digest of version 6;"),
    ({"source": FIXED, "version": None, "versions": [6, 7]}, "source.uri: is one address for 2 versions (6, 7); put"),
    (
        {"serve": {}},
        "tfserving_models[0].serve: says nothing about which versions to serve; give exactly one of latest,",
    ),
    (
        {"serve": {"latest": 1, "all": True}},
        "tfserving_models[0].serve: gives latest and all together; give exactly one",
    ),
    ({"serve": {"latest": 0}}, "tfserving_models[0].serve.latest: is the number 0"),
    ({"serve": {"all": False}}, "tfserving_models[0].serve.all: is the boolean false; write 'all: true', or choose"),
    ({"serve": {"last": 1}}, "tfserving_models[0].serve.last: is not a key of serve; did you mean 'latest'?"),
    ({"serve": {"latest": 1, "labels": {"stable": 7}}}, "serve.labels: names versions, but 'latest' leaves open which"),
    (
        {"serve": {"versions": [7], "labels": {"stable": 6}}},
        "labels.stable: points at version 6, which is not served; add",
    ),
    ({"serve": {"versions": [7], "labels": {"a b": 7}}}, "serve.labels.(a key): cannot be a label; use letters"),
    ({"keep": 0}, "tfserving_models[0].keep: is the number 0; give a count of versions from 1"),
    (
        {"keep": 1, "serve": {"latest": 2}},
        "tfserving_models[0].keep: leaves 1 on disk, but 2 versions are served; set it",
    ),
    (
        {"memory_mb": "4G"},
        "tfserving_models[0].memory_mb: is the string '4G'; give the size of one loaded version in MB",
    ),
    ({"weight": 1}, "tfserving_models[0].weight: is not a key of a model"),
    ({"probe": {}}, "tfserving_models[0].probe: holds no request; give either instances (rows) or inputs (columns)"),
    ({"probe": {"instances": [1], "inputs": [1]}}, "tfserving_models[0].probe: gives instances and inputs together"),
    ({"probe": {"instances": []}}, "tfserving_models[0].probe.instances: is a list; give a list of at least one row"),
    ({"probe": True}, "tfserving_models[0].probe: is the boolean true; leave it out for a request of zeros, or write"),
    ({"contract": {}}, "tfserving_models[0].contract: promises nothing; give inputs, outputs or both"),
    ({"contract": {"inputs": [1]}}, "tfserving_models[0].contract.inputs: is a list; give a mapping of names to"),
    (
        {"contract": {"inputs": {"x": {"dtype": "float32"}}}},
        "tfserving_models[0].contract.inputs.x.dtype: is the string 'float32', which is not a tensor type; "
        "write DT_FLOAT",
    ),
    (
        {"contract": {"inputs": {"x": {"dtype": "string"}}}},
        "contract.inputs.x.dtype: is the string 'string', which is not a tensor type; write DT_STRING",
    ),
    (
        {"contract": {"inputs": {"x": {"dtype": 7}}}},
        "contract.inputs.x.dtype: is the number 7, which is not a tensor type; write it as the server's metadata do",
    ),
    (
        {"contract": {"inputs": {"x": {"shape": 3}}}},
        "contract.inputs.x.shape: is the number 3; give a list of sizes, with -1 for what is free: [-1, 16]",
    ),
    ({"contract": {"outputs": {"y": {"shape": [-2]}}}}, "contract.outputs.y.shape[0]: is the number -2; give a size"),
    ({"contract": {"outputs": {"y": {"shape": [1] * 255}}}}, "contract.outputs.y.shape: has 255 dimensions; a tensor"),
    ({"contract": {"outputs": {"y": {"size": 1}}}}, "contract.outputs.y.size: is not a key of a tensor; the keys of"),
    ({"contract": {"outputs": {"a\nb": None}}}, "tfserving_models[0].contract.outputs: has a name that is"),
]


@pytest.mark.parametrize(("keys", "message"), MODELS, ids=[message[:70] for _, message in MODELS])
def test_a_model_that_cannot_be_is_refused(keys, message):
    found = problems([], [model(**keys)])
    assert len(found) == 1
    assert message in found[0]


INSTANCES = [
    ({"gpu": 1}, "tfserving_instances[0].gpu: is not a key of an instance; did you mean 'gpus'?"),
    ({"name": None}, "tfserving_instances[0].name: is missing; give an instance a name"),
    (
        {"name": "a.b"},
        "tfserving_instances[0].name: is the string 'a.b', which cannot be a name; use letters, digits, '-'",
    ),
    ({"name": "../etc"}, "which cannot be a name"),
    ({"models": None}, "tfserving_instances[0].models: is missing; list the models that the instance serves"),
    ({"models": []}, "tfserving_instances[0].models: is an empty list; name at least one"),
    ({"models": "ranker"}, "tfserving_instances[0].models: is a string; give a list"),
    ({"models": ["rankr"]}, "models[0]: names 'rankr', which is not in tfserving_models; did you mean 'ranker'?"),
    ({"models": ["x"]}, "models[0]: names 'x', which is not in tfserving_models; add it to tfserving_models"),
    ({"models": ["ranker", "ranker"]}, "tfserving_instances[0].models[1]: names ranker a second time; leave it out"),
    ({"profile": "latncy"}, "tfserving_instances[0].profile: is the string 'latncy'; did you mean 'latency'?"),
    ({"profile": "x"}, "profile: is the string 'x'; choose one of latency, balanced, throughput"),
    ({"slo_p99_ms": 0}, "tfserving_instances[0].slo_p99_ms: is the number 0; give milliseconds from 0.001 to 86400000"),
    (
        {"slo_p99_ms": "5e1"},
        "tfserving_instances[0].slo_p99_ms: is the string '5e1'; give milliseconds from 0.001 to 86400000",
    ),
    ({"gpus": -1}, "tfserving_instances[0].gpus: is the number -1; give a count of GPUs (0 for none), or a list"),
    ({"gpus": True}, "tfserving_instances[0].gpus: is the boolean true"),
    ({"gpus": [0, 0]}, "tfserving_instances[0].gpus[1]: names 0 a second time; leave it out"),
    ({"gpus": [0, "0"]}, "tfserving_instances[0].gpus[1]: names 0 a second time"),
    ({"gpus": [1.5]}, "tfserving_instances[0].gpus[0]: is the fraction 1.5; give the index or UUID of a GPU, or"),
    ({"cpus": 0}, "tfserving_instances[0].cpus: is the number 0; give 'auto' or a count of cores from 1"),
    ({"cpus": "4.0"}, "tfserving_instances[0].cpus: is the string '4.0'"),
    ({"weight": -1}, "tfserving_instances[0].weight: is the number -1"),
    (
        {"ports": {"http": 80}},
        "tfserving_instances[0].ports.http: is not a key of ports; the keys of ports are grpc, rest",
    ),
    ({"ports": {"grpc": 65536}}, "ports.grpc: is the number 65536; give a port from 1 to 65535"),
    (
        {"ports": {"grpc": 8501}},
        "ports.rest: is 8501, which is already tfserving_instances[0].ports.grpc; choose a port",
    ),
    (
        {"batching": {"max_batchsize": 8}},
        "batching.max_batchsize: is not a key of batching; did you mean 'max_batch_size'?",
    ),
    ({"batching": {"max_batch_size": "+8"}}, "batching.max_batch_size: is a string; give a whole number"),
    ({"batching": {"enabled": False, "max_batch_size": 8}}, "batching.max_batch_size: is set while enabled is false"),
    ({"flags": ["--port=1"]}, "tfserving_instances[0].flags: is a list; give a mapping of names to values"),
    ({"environment": {"1A": "x"}}, "environment: holds a name, the 1. one, that no variable can have"),
    ({"environment": {"A": True}}, "environment.A: is a boolean, which programs read in different ways; write"),
    ({"environment": {"A": "x\ny"}}, "environment.A: holds a line break or another control character"),
    ({"environment": {"A": ["x"]}}, "environment.A: is a list; give a text or a number"),
    (
        {"environment": {"TF_FORCE_GPU_ALLOW_GROWTH": "True"}},
        "is neither of the two words that TensorFlow understands",
    ),
    ({"environment": {"TF_NUM_INTEROP_THREADS": 4}}, "set flags.tensorflow_inter_op_parallelism instead"),
    ({"environment": {"TF_NUM_INTRAOP_THREADS": 4}}, "set flags.tensorflow_intra_op_parallelism instead"),
    ({"environment": {"TF_ENABLE_AUTO_MIXED_PRECISION": 1}}, "is read by no version of the server; set"),
    ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, "list the GPUs under 'gpus' instead"),
    ({"environment": {"LD_PRELOAD": "/lib/x.so"}}, "environment.LD_PRELOAD: would replace the memory allocator"),
]


@pytest.mark.parametrize(("keys", "message"), INSTANCES, ids=[message[:70] for _, message in INSTANCES])
def test_an_instance_that_cannot_be_is_refused(keys, message):
    found = problems([instance(**keys)])
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    ("instances", "models", "message"),
    [
        (None, {"name": "x"}, "tfserving_models: is a mapping; give a list of mappings, each beginning with '- name:'"),
        (None, ["ranker"], "tfserving_models[0]: is a string; give a model as a mapping with a name"),
        (None, [model(), model()], "tfserving_models[1].name: repeats 'ranker', the name of tfserving_models[0]; give"),
        ("main", None, "tfserving_instances: is a string; give a list of mappings"),
        (
            [instance(), instance()],
            None,
            "tfserving_instances[1].name: repeats 'ranker', the name of tfserving_instances",
        ),
        (
            [instance("a"), instance("b", ports={"grpc": 8501})],
            None,
            "tfserving_instances[1].ports.grpc: is 8501, which is already tfserving_instances[0].ports.rest; choose",
        ),
    ],
)
def test_lists_that_contradict_themselves_are_refused(instances, models, message):
    found = problems(instances, models)
    assert len(found) == 1
    assert message in found[0]


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(WishErrors) as caught:
        read([instance(profil="x"), instance("b", cpus=0)], [model(version="07")])
    first, count, *others = str(caught.value).splitlines()
    assert first.startswith("tfserving_models[0].version: ")
    assert count == "and 2 more:"
    assert [other.split(":")[0] for other in others] == [
        "- tfserving_instances[0].profil",
        "- tfserving_instances[1].cpus",
    ]


def test_a_broken_model_does_not_make_its_instances_wrong_too():
    assert problems([instance()], [model(version=0)]) == problems([], [model(version=0)])


def test_an_own_preload_is_welcome_where_no_allocator_is_preloaded():
    wish = instance(environment={"LD_PRELOAD": "/lib/x.so"})
    assert problems([wish], jemalloc={"enabled": False}) == []


def test_environment_values_become_text():
    (found,) = read([instance(environment={"A": 3, "TF_FORCE_GPU_ALLOW_GROWTH": "true"})]).instances
    assert found.environment == {"A": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


@pytest.mark.parametrize(
    ("keys", "versions", "provided"),
    [
        ({"source": FIXED}, [7], [7]),
        ({"source": FIXED, "serve": {"versions": [6, 7]}}, [6, 7], [7]),
        ({"serve": {"versions": [6, 7]}}, [6, 7], [6, 7]),
        ({"version": None, "versions": [7, 5]}, [5, 7], [5, 7]),
        ({"source": {**HTTP, "sha256": {6: DIGEST, "7": DIGEST}}, "serve": {"versions": [6, 7]}}, [6, 7], [6, 7]),
    ],
)
def test_the_versions_on_disk_are_those_asked_for_and_those_served(keys, versions, provided):
    found = read(models=[model(**keys)]).models["ranker"]
    assert (found.versions, found.provided) == (versions, provided)


@pytest.mark.parametrize(
    ("keys", "serve"),
    [
        ({"version": 6}, {"versions": [6]}),
        ({"version": None, "versions": [7, 5]}, {"versions": [7]}),
        ({"version": 6, "serve": {"latest": 1}}, {"latest": 1}),
    ],
)
def test_what_is_served_is_what_is_named_unless_the_user_says_otherwise(keys, serve):
    found = read(models=[model(**keys)])
    assert found.models["ranker"].serve == serve
    assert not found.warnings


def test_as_many_versions_are_kept_as_are_served():
    assert read(models=[model()]).models["ranker"].keep == 3
    assert read(models=[model(serve={"latest": 5})]).models["ranker"].keep == 5


@pytest.mark.parametrize(
    ("instances", "models", "warning"),
    [
        (
            [instance()],
            [model(), model("idle")],
            "tfserving_models[1]: no instance of this host serves 'idle'; add it to",
        ),
        (
            None,
            [model(serve={"versions": [6]})],
            "tfserving_models[0].version: 7 is put on disk and not served; add it to",
        ),
        (
            [instance(ports={"rest": 80})],
            None,
            "tfserving_instances[0].ports.rest: is 80, and below 1024 only root may",
        ),
    ],
)
def test_what_is_legal_and_probably_not_meant_is_a_warning(instances, models, warning):
    (found,) = read(instances, models).warnings
    assert found.startswith(warning)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"housekeping": {}}, "host_plan_policy.housekeping: is not a key of the policy; did you mean 'housekeeping'?"),
        ({"memory": {"proces_mb": 1}}, "host_plan_policy.memory.proces_mb: is not a key of the policy; did you mean"),
        ({"memory": 1}, "host_plan_policy.memory: is a number; give a mapping"),
        ({"install_method": "yum"}, "tfserving_install_method: is the string 'yum'; choose one of apt, image, archive"),
        (
            {"version": "2.19"},
            "tfserving_version: the string '2.19' is not a release of the server; write three numbers",
        ),
        ({"version": 2.19}, "tfserving_version: the fraction 2.19 is not a release of the server"),
        ({"paths": {"models": "models"}}, "tfserving_model_root: is the string 'models'; give an absolute path"),
        (
            {"paths": {"models": "/home/ml/models"}},
            "tfserving_model_root: is the string '/home/ml/models', and that is in /home, which the servers do not see"
            " (ProtectHome= of their unit); give a directory such as /srv/tfserving",
        ),
        ({"paths": {"models": "/tmp/m"}}, "and that is in /tmp, in place of which each server has an"),
        ({"paths": {"models": "/var/../tmp//m"}}, "tfserving_model_root: holds an empty part, '.' or '..'"),
        ({"paths": {"models": "//root"}}, "and that is in /root, which the servers do not see"),
        ({"paths": {"models": "/run/user/0/m"}}, "and that is in /run, which is empty after a boot"),
        ({"paths": {"models": "/dev/shm/m"}}, "and that is in /dev, of which the servers see the common devices alone"),
        ({"paths": {"models": "/"}}, "tfserving_model_root: is the root of the host; give a directory of its own"),
        ({"paths": {"models": "/etc/tfserving/models"}}, "and that is in /etc/tfserving, where the instances' own"),
        ({"releases": {"root": "/home/r"}}, "tfserving_release_root: is the string '/home/r', and that is in /home"),
        (
            {"paths": {"models": "/srv/tf"}, "releases": {"root": "/srv/tf/releases"}},
            "tfserving_model_root: is /srv/tf, and tfserving_release_root is /srv/tf/releases: one lies in the other;"
            " give models and releases directories of their own",
        ),
        (
            {"overrides": {"paths": {"models": "/srv/tf"}}},
            "host_plan_policy.paths.models: has a variable of its own; set tfserving_model_root instead",
        ),
        ({"paths": {"config": "/etc/x"}}, "host_plan_policy.paths.config: is the string '/etc/x'; choose one of"),
        (
            {"poll_seconds": 0},
            "host_plan_policy.poll_seconds: is the number 0; give a number of seconds from 1 to 3600",
        ),
        (
            {"profiles": {"latency": {"inter_op_share": 2}}},
            "profiles.latency.inter_op_share: is the number 2; give a share",
        ),
        (
            {"housekeeping": {"cores_per_node": "all"}},
            "cores_per_node: is the string 'all'; give 'auto' or a count of cores",
        ),
        (
            {"metrics_path": "metrics"},
            "host_plan_policy.metrics_path: is the string 'metrics'; give a path that begins",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy, message):
    (found,) = problems(**policy)
    assert message in found


def test_a_policy_names_only_what_differs_from_the_defaults():
    policy = plan_policy.complete({"profiles": {"latency": {"max_batch_size": {"gpu": 4}}}})
    assert policy["profiles"]["latency"]["max_batch_size"] == {"cpu": 8, "gpu": 4}
    assert policy["profiles"]["balanced"] == plan_policy.DEFAULTS["profiles"]["balanced"]


def test_every_setting_has_a_default_that_it_accepts_itself():
    assert plan_policy.complete(plan_policy.DEFAULTS) == plan_policy.DEFAULTS
    assert set(plan_policy.CHECKS) == set(plan_policy.DEFAULTS)


def test_a_contract_and_a_model_without_proof_come_out_in_one_form():
    wish = {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [None, -1, 16]}, "y": None}}
    assert wish_contract.contract("contract", wish) == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, -1, 16]}, "y": {}}
    }
    assert wish_contract.probe("probe", False) is False
