# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a gateway's plan says of its cache: which calls, which version, and when it stands aside."""

from __future__ import annotations

import re

import gateway_cases as cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.cache import cache
from gateway_cases import LIVE, remembering

MOVING = {"ranker": {"canary": ["gpu-1"], "control": [], "permille": 50}}


def pin(plan, asked):
    """Return the pin of a kind of call."""
    (found,) = [each for each in plan["cache"]["pins"] if each["asked"] == asked]
    return found


def status(*states):
    """Return a server's page, of pairs of version and state."""
    entries = [
        f'  {{\n   "version": "{version}",\n   "state": "{state}",\n   "status": {{}}\n  }}'
        for version, state in states
    ]
    return '{\n "model_version_status": [\n' + ",\n".join(entries) + "\n ]\n}\n"


def test_without_a_wish_nothing_is_laid_down():
    plan = cases.planned()
    assert (plan["cache"]["live"], plan["cache"]["models"], plan["cache"]["pins"]) == (False, [], [])
    files = cases.files(plan)
    assert not [path for path in files if "tfserving-cache" in path]
    assert "backend answers" not in files["etc/haproxy/haproxy.cfg"]


def test_shadow_mode_needs_no_store():
    plan = cases.planned(remembering(wish={"ttl_s": 30}))
    assert [each["shadow"] for each in plan["cache"]["models"]] == [True]
    assert not plan["cache"]["live"]
    config = cases.files(plan)["etc/haproxy/haproxy.cfg"]
    assert "xxh64" in config
    assert "backend answers" not in config


def test_calls_without_a_version_are_pinned_to_the_newest_one_that_all_hosts_serve():
    plan = cases.planned(remembering(cases.instance(versions=[6, 7]), cases.instance(versions=[6, 7])))
    assert {each["asked"]: each["version"] for each in plan["cache"]["pins"]} == {
        "ranker/": 7, "ranker/versions/6": 6, "ranker/versions/7": 7
    }  # fmt: skip
    assert [each["name"] for each in pin(plan, "ranker/")["servers"]] == ["gpu-1.ranker", "gpu-2.ranker"]


def test_hosts_with_different_versions_share_no_pin():
    plan = cases.planned(remembering(cases.instance(versions=[6, 7]), cases.instance(versions=[6])))
    assert [each["asked"] for each in plan["cache"]["pins"]] == ["ranker/versions/6"]
    assert (
        "cache of ranker: hosts differ in its newest version, so only calls that name a version are remembered"
        in plan["warnings"]
    )


def test_a_label_that_moves_passes_the_cache():
    some = [
        cases.instance(versions=[6, 7], labels={"stable": 6, "next": 7}),
        cases.instance(versions=[6, 7], labels={"stable": 6, "next": 6}),
    ]
    plan = cases.planned(remembering(*some))
    assert pin(plan, "ranker/labels/stable")["version"] == 6
    assert "ranker/labels/next" not in [each["asked"] for each in plan["cache"]["pins"]]
    assert (
        "cache of ranker: the label next means different versions on different hosts, so its calls pass the cache"
        in plan["warnings"]
    )


def test_a_roll_out_puts_the_cache_aside():
    plan = cases.planned(remembering(), rollouts=MOVING)
    assert (plan["cache"]["models"], plan["cache"]["live"]) == ([], False)
    assert "cache of ranker: stands aside until the roll-out of ranker is over" in plan["warnings"]


@pytest.mark.parametrize(
    ("states", "has_moved"),
    [
        ([(7, "AVAILABLE"), (6, "AVAILABLE")], False),
        ([(6, "AVAILABLE"), (7, "AVAILABLE")], False),
        ([(7, "AVAILABLE"), (6, "END")], False),
        ([(8, "LOADING"), (7, "AVAILABLE")], False),
        ([(8, "AVAILABLE"), (7, "AVAILABLE")], True),
        ([(8, "AVAILABLE"), (7, "UNLOADING")], True),
        ([(7, "LOADING"), (6, "AVAILABLE")], True),
        ([(77, "AVAILABLE"), (7, "AVAILABLE")], True),
        ([(7, "LOADING"), (6, "END")], False),  # gets no calls: HAProxy's own checks have it down
    ],
)
def test_a_server_has_moved_when_it_would_take_another_version(states, has_moved):
    plan = cases.planned(remembering(cases.instance(versions=[6, 7])))
    moved = pin(plan, "ranker/")["moved"]
    assert bool(re.search(moved, status(*states))) is has_moved
    assert bool(re.search(moved, status(*states).replace(" ", "").replace("\n", ""))) is has_moved


def test_the_page_of_a_label_tells_which_version_it_means():
    plan = cases.planned(remembering(cases.instance(versions=[6, 7], labels={"stable": 6})))
    moved = pin(plan, "ranker/labels/stable")["moved"]
    page = '{"model_spec": {"name": "ranker", "signature_name": "", "version": "%d"}, "metadata": {"version": "6"}}'
    assert not re.search(moved, page % 6)
    assert re.search(moved, page % 7)
    assert re.search(moved, '{"error": "Unrecognized servable version label: stable"}')


def test_one_wish_holds_for_all_hosts_of_a_model():
    hosts = {**remembering(), "gpu-2": remembering(cases.instance(), wish={"ttl_s": 31})["gpu-1"]}
    assert cases.refusal(hosts) == (
        "tfserving_models: gives ranker another cache on gpu-2 than on gpu-1; write one wish for all hosts"
    )


def test_a_store_without_a_limit_is_refused():
    assert cases.refusal(remembering(), gateway_cache_memory_mb=0) == (
        "gateway_cache_memory_mb: is 0, and a store without a limit takes all memory; give 16 MB or more"
    )


def test_a_gateway_asks_no_more_servers_than_it_can():
    assert cases.refusal(remembering(*[cases.instance() for _ in range(201)])) == (
        "tfserving_models: has caches for which 201 servers would be asked for their versions, and 200 are the most;"
        " remember fewer models, or fewer of their labels"
    )


def test_shadow_mode_without_a_log_is_told():
    plan = cases.planned(remembering(wish={"ttl_s": 30}), gateway_log_calls=False)
    assert (
        "cache of ranker: is in shadow mode, and gateway_log_calls is false, so nothing is counted" in plan["warnings"]
    )


def test_the_store_goes_on_over_versions_and_hosts():
    one = cases.planned(remembering(cases.instance(versions=[6])))["cache"]["generation"]
    other = cases.planned(remembering(cases.instance(versions=[7]), cases.instance(versions=[7])))["cache"][
        "generation"
    ]
    assert one == other != cases.planned(remembering(wish={**LIVE, "ttl_s": 31}))["cache"]["generation"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"ttl_s": 0}, "x.cache.ttl_s: is the number 0; give seconds from 1 to 86400"),
        ({"ttl": 5}, "x.cache.ttl: is not a key of the cache of a model; did you mean 'ttl_s'?"),
        ({"shadow": "perhaps"}, "x.cache.shadow: is the string 'perhaps'; give true or false"),
        ({"max_body_kb": 9000}, "x.cache.max_body_kb: is the number 9000; give KiB from 1 to 8192"),
        (True, "x.cache: is a boolean; give the cache of a model as a mapping with the keys ttl_s"),
    ],
)
def test_wishes_that_cannot_be_are_refused(wish, message):
    with pytest.raises(WishError) as caught:
        cache("x.cache", wish)
    assert str(caught.value).startswith(message)
