# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What no variable may hold, whatever it is for."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import WishErrors
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import roles as role_wishes
from planner_cases import box, instance, model
from wish_cases import HTTP, problems, read

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
