# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How values may be written, what no value may be, and that a refusal never repeats what may be secret."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan, jemalloc
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bounds as wish_bounds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import logins as registry_logins
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import tls as tls_pair
from planner_cases import box, instance, model

SECRET = "Tr0ub4dor"
DIGEST = "ab" * 32
HTTP = {"type": "http", "uri": "https://models.example.com/{version}.tar", "sha256": DIGEST}


def read(instances, models=None):
    return wishes.read(instances, models or [model()], plan_policy.complete({}))


def problems(instances=None, models=None):
    return wishes.problems(instances, models or [model()])


# Whole numbers as text ------------------------------------------------------------------------------------------------


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


# What no value may be -------------------------------------------------------------------------------------------------

RECURSIVE: list = []
RECURSIVE.append(RECURSIVE)
DEEP: list = []
for _level in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (RECURSIVE, "tfserving_models: is nested deeper than 32 levels; look for an alias to what it stands in"),
        (DEEP, "tfserving_models: is nested deeper than 32 levels; look for an alias to what it stands in"),
        ([0] * 300_000, "tfserving_models: holds more than 200000 values; make it smaller"),
        ([10**400], "tfserving_models[0]: is a number beyond 64 bits; stay within ±9223372036854775807"),
        ([int("9" * 4300) * 10], "tfserving_models[0]: is a number beyond 64 bits; stay within ±9223372036854775807"),
        (
            [{"probe": float("nan")}],
            "tfserving_models[0].probe: is not a finite number; write a number that JSON knows",
        ),
        (
            [{"probe": [float("inf")]}],
            "tfserving_models[0].probe[0]: is not a finite number; write a number that JSON knows",
        ),
        (["\ud800"], "tfserving_models[0]: holds half a character (a surrogate); write the character itself"),
        (["a\0"], "tfserving_models[0]: holds a NUL, which no file and no program can; remove it"),
        (["x" * 300_000], "tfserving_models[0]: is a text of 300000 characters; stay within 262144"),
        ([datetime.date(2026, 1, 1)], "tfserving_models[0]: is a date; write it in quotes, as text"),
        ([{("a", "b"): 1}], "tfserving_models[0]: holds a key that is not one of a model; the keys"),
    ],
)
def test_what_no_variable_may_hold(value, problem):
    found = wishes.problems(None, value)
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"weight": 10**400}, "tfserving_instances[0].weight: is a number beyond 64 bits; stay within"),
        (
            {"slo_p99_ms": 1e306},
            "tfserving_instances[0].slo_p99_ms: is the fraction 1e+306; give milliseconds from 0.001 to",
        ),
        ({"name": "a" * 300}, "tfserving_instances[0].name: is 300 characters long; use at most 64"),
        (
            {"ports": {"grpc": 99999}},
            "tfserving_instances[0].ports.grpc: is the number 99999; give a port from 1 to 65535",
        ),
        (
            {"ports": {"rest": "abc"}},
            "tfserving_instances[0].ports.rest: is the string 'abc'; give a port from 1 to 65535",
        ),
        (
            {"ports": {"rest": True}},
            "tfserving_instances[0].ports.rest: is the boolean true; give a port from 1 to 65535",
        ),
        (
            {"environment": {"A": "\x1b[2J"}},
            "tfserving_instances[0].environment.A: holds a line break or another control",
        ),
        (
            {"environment": {"A": "x" * 70_000}},
            "tfserving_instances[0].environment.A: is longer than 65536 bytes; put it",
        ),
        ({"environment": {"LD_PRELOAD": "/a:../b"}}, "tfserving_instances[0].environment.LD_PRELOAD: "),
    ],
)
def test_an_instance_that_would_break_later_is_refused_now(wish, problem):
    assert problems([instance(**wish)])[0].startswith(problem)


def test_a_path_that_no_kernel_takes_is_refused_by_the_plan():
    wish = instance(flags={"grpc_socket_path": "/" + "x" * 4999})
    with pytest.raises(WishError) as refused:
        host_plan(box(0), [wish], [model()], {"jemalloc": {"enabled": False}})
    assert str(refused.value) == (
        "tfserving_instances[0].flags.grpc_socket_path: is longer than 4096 bytes; write a shorter text"
    )


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (
            {"serve": {"latest": 2**62}},
            "tfserving_models[0].serve.latest: is the number 4611686018427387904; give a whole",
        ),
        ({"name": "a" * 300}, "tfserving_models[0].name: is 300 characters long; use at most 128"),
        (
            {"source": {**HTTP, "uri": "https://[::1/x"}},
            "tfserving_models[0].source.uri: is not a web address; begin",
        ),
        (
            {"source": {**HTTP, "uri": "https://h:abc/x"}},
            "tfserving_models[0].source.uri: is not a web address; begin",
        ),
    ],
)
def test_a_model_that_would_break_later_is_refused_now(wish, problem):
    assert problems(models=[model(**wish)])[0].startswith(problem)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("models", "is the string 'models'; give an absolute path"),
        ("/", "is the root of the host; give a directory of its own"),
        ("//", "is the root of the host; give a directory of its own"),
        ("/a/../etc", "holds an empty part, '.' or '..'; give the path as it is after them"),
        ("/a//b", "holds an empty part, '.' or '..'; give the path as it is after them"),
        ("/a/./b", "holds an empty part, '.' or '..'; give the path as it is after them"),
        ("/a\nExecStartPre=+/bin/touch /pwned", "holds a character that units or commands interpret; use letters"),
        ("/a b", "holds a character that units or commands interpret; use letters"),
        ("/a%n", "holds a character that units or commands interpret; use letters"),
        ("/a:b", "holds a character that units or commands interpret; use letters"),
        ("/a\\", "holds a character that units or commands interpret; use letters"),
        ("/$HOME", "holds a character that units or commands interpret; use letters"),
        ("/" + "a" * 256, "is too long; use at most 1024 bytes, and 255 between slashes"),
        ("/a" * 600, "is too long; use at most 1024 bytes, and 255 between slashes"),
        (5, "is the number 5; give an absolute path"),
    ],
)
@pytest.mark.parametrize("name", sorted(name for name, check in role_wishes.CHECKS.items() if name.endswith("_root")))
def test_every_path_passes_one_check(name, path, problem):
    with pytest.raises(WishError) as refused:
        role_wishes.check({name: path})
    assert str(refused.value).startswith(f"{name}: {problem}")


def test_the_planner_refuses_such_a_path_by_itself():
    with pytest.raises(WishError, match=r"^tfserving_model_root: holds a character that units or commands interpret"):
        plan_policy.complete({"paths": {"models": "/a\nb"}})


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("fe80::1%eth0", "names a zone, and systemd silently drops such an address; leave out the %"),
        ("10.0.0.0/255.0.0.0", "'10.0.0.0/255.0.0.0' is neither an address nor a network; write it as"),
        ("10.0.0.0/08", "'10.0.0.0/08' is neither an address nor a network; write it as"),
        ("::ffff:10.0.0.1", "is an IPv4-mapped IPv6 address, which no packet carries; write its IPv4 form"),
        (167772160, "is a number; write the address in quotes"),
        ("10.0.0.1\nIPAddressAllow=any", "a string is neither an address nor a network; write it as"),
    ],
)
def test_addresses_that_systemd_or_nft_would_misread_are_refused(address, problem):
    with pytest.raises(WishError) as refused:
        address_rules.networks([address])
    assert str(refused.value).startswith(f"tfserving_allow_from[0]: {problem}")


class TaggedDate(datetime.date):
    """What ansible-core makes of a date that it reads, under a name that nobody writes."""


class TaggedBytes(bytes):
    """The same for ``!!binary``."""


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (TaggedDate(2026, 1, 1), "is a date; write it in quotes, as text"),
        (datetime.datetime(2026, 1, 1), "is a date with a time; write it in quotes, as text"),
        (TaggedBytes(b"x"), "is binary data; write it in quotes, as text"),
        ({1, 2}, "is a set; write it as a list"),
        (object(), "is no plain value; write it in quotes, as text"),
    ],
)
def test_what_yaml_makes_of_a_value_is_called_as_people_call_it(value, sentence):
    assert problems(models=[model(version=value)]) == [f"tfserving_models[0].version: {sentence}"]


# Lengths --------------------------------------------------------------------------------------------------------------


def test_lists_beyond_any_host_are_refused_by_their_own_name():
    models = [model(f"m{number}") for number in range(1001)]
    assert problems(None, models)[0] == "tfserving_models: holds 1001 entries; give at most 1000"
    instances = [instance(f"i{number}") for number in range(1001)]
    assert problems(instances) == ["tfserving_instances: holds 1001 entries; give at most 1000"]


def test_a_mistake_in_every_entry_does_not_fill_the_screen():
    with pytest.raises(WishErrors) as refused:
        read(None, [model(f"m{number}", verion=1) for number in range(500)])
    first, count, *others = str(refused.value).splitlines()
    assert first.startswith("tfserving_models[0].verion: ")
    assert count == "and 499 more:"
    assert (len(others), others[-1]) == (51, "- and 449 that are not shown")


# Secrets --------------------------------------------------------------------------------------------------------------

AT_MODEL = [
    {"source": {**HTTP, "uri": f"htps://me:{SECRET}@h/x"}},
    {"source": {**HTTP, "uri": f"https://me:{SECRET}@h/x"}},
    {"source": {**HTTP, "uri": f"https://{SECRET}@[::1/x"}},
    {"source": {**HTTP, "uri": f"https://h/x?sig={SECRET}\n"}},
    {"source": {**HTTP, "uri": f"https://h/{{{SECRET}}}"}},
    {"source": {**HTTP, "uri": {"x": SECRET}}},
    {"source": {"type": "path", "uri": f"{SECRET}://x"}},
    {"source": {"type": "path", "uri": f"https:/me:{SECRET}@h/x"}},
    {"source": {"type": "path", "uri": f"https//{SECRET}@h/x"}},
    {"source": {"type": "path", "uri": f"me:{SECRET}@h:/x/{{version}}"}},
    {"source": {"type": "path", "uri": f"//me:{SECRET}@h/x"}},
    {"source": {**HTTP, "sha256": f"sha256:{SECRET}"}},
    {"source": f"https://{SECRET}@h/x"},
    {"source": {**HTTP, "headers": f"Authorization: Bearer {SECRET}"}},
    {"source": {**HTTP, "headers": [f"Authorization: Bearer {SECRET}"]}},
    {"source": {**HTTP, "headers": {"Authorization": f"Bearer {SECRET}\n"}}},
    {"source": {**HTTP, "headers": {"Authorization": [SECRET]}}},
    {"source": {**HTTP, "headers": {f"Authorization Bearer {SECRET}": None}}},
    {"source": {**HTTP, "header": {"Authorization": SECRET}}},
    {"source": {**HTTP, f"https://{SECRET}@h/x": None}},
    {f"{SECRET}=1": 1},
    {"version": f"https://{SECRET}@h"},
    {"name": f"{SECRET}: x"},
    {"serve": {"labels": {f"{SECRET}!": 1}, "versions": [7]}},
    {"probe": f"Bearer {SECRET}"},
]
AT_INSTANCE = [
    {"environment": f"TOKEN={SECRET}"},
    {"environment": [f"TOKEN={SECRET}"]},
    {"environment": {f"TOKEN={SECRET}": None}},
    {"environment": {"TOKEN": {"a": SECRET}}},
    {"environment": {"TOKEN": f"{SECRET}\n"}},
    {"environment": {"TOKEN": f"{SECRET}\x1b"}},
    {"environment": {"TF_FORCE_GPU_ALLOW_GROWTH": SECRET}},
    {"environment": {"CUDA_VISIBLE_DEVICES": SECRET}},
    {"enviroment": {"TOKEN": SECRET}},
    {"flags": f"--x={SECRET}!"},
    {"flags": {f"--x={SECRET}": 1}},
    {"batching": {f"x={SECRET}": 1}},
]


@pytest.mark.parametrize("keys", AT_MODEL, ids=str)
def test_a_refused_model_never_repeats_what_may_be_secret(keys):
    found = problems([], [model(**keys)])
    assert found
    assert SECRET not in "\n".join(found)


@pytest.mark.parametrize("keys", AT_INSTANCE, ids=str)
def test_a_refused_instance_never_repeats_what_may_be_secret(keys):
    with pytest.raises(WishError) as refused:
        host_plan(box(0), [instance(**keys)], [model()], {"jemalloc": {"enabled": False}})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "entry"),
    [
        ("image", f"me:{SECRET}@registry.example/X:y@sha256:{DIGEST}"),
        ("image", f"me:{SECRET}@registry.example/x"),
        ("image", f"https://h/x?token={SECRET}@sha256:{DIGEST}"),
        ("image", f"x@{SECRET}:y"),
        ("image", {"a": SECRET}),
        ("archive", f"https://{SECRET}@h/x"),
        ("archive", {"uri": f"htps://{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"https://{SECRET}@[::1/x", "sha256": DIGEST}),
        ("archive", {"uri": "/x", "sha256": DIGEST, "binary": {"a": SECRET}}),
        ("archive", {"uri": "/x", "sha256": {"a": SECRET}}),
        ("archive", {f"https://{SECRET}@h/x": None}),
        ("archive", {"uri": f"https:/me:{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"https//{SECRET}@h/x", "sha256": DIGEST}),
        ("archive", {"uri": f"me:{SECRET}@h:/x", "sha256": DIGEST}),
        ("archive", 5),
        ("archive", {"uri": 5, "sha256": DIGEST}),
    ],
    ids=str,
)
def test_a_refused_release_never_repeats_what_may_be_secret(method, entry):
    with pytest.raises(WishError) as refused:
        release_ids.release("2.19.1", method, {"2.19.1": entry}, {"2.19.1": entry})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "credentials",
    [
        SECRET,
        [SECRET],
        {"h": SECRET},
        {"h": {"username": "a", "password": {"x": SECRET}}},
        {"h": {"username": f"{SECRET}:x", "password": "x"}},
        {"h": {"username": "a", "password": f"{SECRET}\n"}},
        {f"me:{SECRET}@h": {"username": "a", "password": "b"}},
        {5: {"username": "a", "password": "b"}},
    ],
    ids=str,
)
def test_refused_credentials_are_never_repeated(credentials):
    with pytest.raises(WishError) as refused:
        registry_logins.auths(credentials)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("key", [[SECRET], {"a": SECRET}, 5, f"{SECRET}", f"-----BEGIN {SECRET}", "\ud800", None])
def test_a_refused_key_is_never_repeated(key):
    with pytest.raises(WishError) as refused:
        tls_pair.check("x", key, "")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tfserving_apt_repository_uri", f"https://{SECRET}@mirror.example/apt"),
        ("tfserving_apt_key_url", f"https://mirror.example/key?token={SECRET}"),
        ("nvidia_driver_repository_uri", f"https://me:{SECRET}@mirror.example/apt"),
        ("tfserving_registry_mirrors", [f"me:{SECRET}@mirror.example"]),
        ("tfserving_apt_suite", f"stable\nSigned-By: {SECRET}!"),
        ("tfserving_release_root", f"/opt/{SECRET} x"),
    ],
)
def test_what_many_can_read_may_hold_no_secret(name, value):
    with pytest.raises(WishError) as refused:
        role_wishes.check({name: value})
    assert str(refused.value).startswith(name)
    assert SECRET not in str(refused.value)


def test_mirrors_and_repositories_may_be_of_the_host_itself():
    role_wishes.check(
        {
            "nvidia_driver_repository_uri": "file:/opt/vendor",
            "nvidia_driver_key_url": "/opt/vendor/key.pub",
            "tfserving_apt_repository_uri": "https://mirror.example/apt",
            "tfserving_registry_mirrors": ["http://localhost:5000", "mirror.example.com/hub"],
        }
    )
    with pytest.raises(WishError, match=r"^nvidia_driver_repository_uri: holds a character that units or commands"):
        role_wishes.check({"nvidia_driver_repository_uri": "file:/opt/a b"})


LISTED = {
    "nvidia_driver_hold_kernel": {"type": "bool"},
    "cpu_partition_boot": {"type": "list", "elements": "str", "choices": ["managed_irq", "nohz_full"]},
}
HALVES = {"name": "halves", "devices": [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.5gb+me": 2}}]}


@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        # A template takes the text 'no' for a truth, and a condition takes no text at all.
        (
            "nvidia_driver_hold_kernel",
            "no",
            "is a string; give true or false without quotes, and on a command line as JSON: -e '{\"name\": true}'",
        ),
        ("cpu_partition_boot", [f"{SECRET}!"], "[0]: is a string; choose one of managed_irq, nohz_full"),
        ("cpu_partition_boot", ["nohz_ful"], "[0]: is the string 'nohz_ful'; did you mean 'nohz_full'?"),
        ("cpu_partition_boot", [{SECRET: 1}], "[0]: is a mapping; give a text"),
        ("nvidia_driver_mig", {"name": "halves"}, "lacks its name or its devices; give both, or leave it empty"),
        ("nvidia_driver_mig", {**HALVES, "nam": 1}, "nam: is not a key of a geometry; did you mean 'name'?"),
        (
            "nvidia_driver_mig",
            {**HALVES, "name": "a: b"},
            "name: is a string; use letters, digits and . _ + -, in quotes",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "name": 5},
            "name: is the number 5; use letters, digits and . _ + -, in quotes",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": "all"},
            "devices: is a string; give a list of mappings, as mig-parted knows it",
        ),
        # A template that indents lines takes such a sign for the end of one.
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-devices": {"\u2028": 1}}]},
            "devices[0].mig-devices: is a string; use what mig-parted knows, such as all, 0x233010DE or 3g.40gb",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-devices": {"3g.40gb": "2"}}]},
            "devices[0].mig-devices.(a key): is the string '2'; write it without quotes, and end a template in '| int'"
            " or '| bool'",
        ),
        (
            "nvidia_driver_mig",
            {**HALVES, "devices": [{"devices": "all", "mig-enabled": "true"}]},
            "devices[0].mig-enabled: is the string 'true'; write it without quotes, and end a template in '| int' or"
            " '| bool'",
        ),
        ("nvidia_driver_gpu_settings", None, "is nothing; give a list of mappings"),
        ("cpu_partition_boot", [None], "[0]: is nothing; choose one of managed_irq, nohz_full"),
        (
            "nvidia_driver_version",
            "abc",
            "is the string 'abc'; write it in quotes, as in 580.95.05, or leave it empty",
        ),
        ("model_repository_owner", "a b", "is a string; name an account, or its number in quotes"),
        # What YAML makes of an unquoted 0755.
        ("model_repository_directory_mode", 493, "is the number 493; write it in quotes, as in '0755'"),
        ("model_repository_file_mode", "rw-r--r--", "is the string 'rw-r--r--'; write it in quotes, as in '0644'"),
        ("jemalloc_package", "a b", "is a string; use letters, digits and . _ / + ~ -"),
        (
            "model_repository_headers",
            {"Authorization": f"Bearer {SECRET}\n"},
            "Authorization: holds a line break or another control character; give a text on one line",
        ),
        (
            "model_repository_headers",
            {f"Authorization: Bearer {SECRET}": None},
            "holds a name, the 1. one, that no header can have; write 'Name: value'",
        ),
        ("model_repository_headers", {"X-Token": [SECRET]}, "X-Token: is a list; give a text on one line"),
    ],
)
def test_what_a_role_would_stumble_over_on_the_host_is_refused_before_any_host_is_changed(name, value, refusal):
    with pytest.raises(WishError) as refused:
        role_wishes.check({name: value}, LISTED)
    sentence = str(refused.value)
    assert sentence.startswith(name)
    assert sentence[len(name) :].lstrip(".: ") == refusal
    assert SECRET not in sentence


OPTIONS = inventory.role_options()


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_variable_without_a_value_never_comes_before_ansible_cores_own_check(name):
    spec = {name: {key: value for key, value in OPTIONS[name].items() if key != "description"}}
    if OPTIONS[name].get("default") is None:
        assert ArgumentSpecValidator(spec).validate({name: None}).error_messages == []
    else:
        with pytest.raises(WishError) as refused:
            role_wishes.check({name: None}, OPTIONS)
        assert str(refused.value) == f"{name}: is nothing; give it a value, or remove it and its default holds"


def test_what_roles_take_passes():
    role_wishes.check(
        {
            "nvidia_driver_hold_kernel": True,
            "cpu_partition_boot": ["managed_irq"],
            "nvidia_driver_mig": HALVES,
            "nvidia_driver_branch": 580,
            "nvidia_driver_version": "535.261.03-1~deb12u1",
            "model_repository_owner": "0",
            "model_repository_group": "model-servers",
            "model_repository_directory_mode": "u=rwx,g=rx,o=",
            "model_repository_file_mode": "0640",
        },
        LISTED,
    )


def test_bounds_name_the_place_and_never_the_value():
    with pytest.raises(WishError) as refused:
        wish_bounds.check("x", {"a": [{f"{SECRET}=1": float("nan")}]})
    assert str(refused.value) == "x.a[0].(a key): is not a finite number; write a number that JSON knows"
