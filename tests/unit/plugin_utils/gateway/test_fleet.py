# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""No serving host drops out of a gateway because a run does not reach it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.fleet import gathered

SITE = {"address": "10.0.0.1", "gate_port": 8490, "longest_call_s": 30}
INSTANCE = {
    "name": "ranker",
    "models": ["ranker"],
    "ports": {"grpc": 8500, "rest": 8501},
    "threads": {"grpc": 9, "rest": 9},
    "batching": None,
    "objective_p99_ms": 50,
    "model_config": {},
    "flags": {"ssl_config_file": "/run/x", "port": 8500},
    "environment": {"TOKEN": "a digest"},
}
PLAN = {"instances": [INSTANCE], "models": [{"name": "ranker", "versions": [7], "probe": {}}], "server": {}}
KNOWN = {**SITE, "instances": [{"name": "old"}], "models": []}


def of(plans, known=None, hosts=("gpu-1",)):
    return gathered(hosts, plans, known or {}, {host: SITE for host in hosts})


def test_a_plan_counts_before_what_the_gateway_remembers_and_only_what_callers_meet_is_kept():
    found, warnings = of({"gpu-1": PLAN}, {"gpu-1": KNOWN})
    (instance,) = found["gpu-1"]["instances"]
    assert instance == {
        **{key: value for key, value in INSTANCE.items() if key not in ("environment", "flags")},
        "flags": {"ssl_config_file": "/run/x"},
    }
    assert found["gpu-1"]["models"] == [{"name": "ranker", "versions": [7]}]
    assert {key: found["gpu-1"][key] for key in SITE} == SITE
    assert warnings == []


@pytest.mark.parametrize(("sha256", "kept"), [("AA", {"7": "aa"}), ({6: "cc", 7: "aa"}, {"6": "cc", "7": "aa"})])
def test_checksums_are_kept_to_tell_models_of_one_name_apart(sha256, kept):
    source = {"type": "path", "uri": "/srv/ranker.tgz", "sha256": sha256}
    model = {"name": "ranker", "versions": [6, 7], "provided": [7], "source": source}
    found, _warnings = of({"gpu-1": {**PLAN, "models": [model]}})
    assert found["gpu-1"]["models"] == [{"name": "ranker", "versions": [6, 7], "sha256": kept}]


def test_a_host_that_cannot_be_reached_is_kept_as_the_gateway_knew_it():
    found, warnings = of({"gpu-1": PLAN}, {"gpu-2": KNOWN}, ("gpu-1", "gpu-2"))
    assert found["gpu-2"] == KNOWN
    assert warnings == ["gpu-2 cannot be reached, so this gateway keeps what it knew of it"]


@pytest.mark.parametrize("plan", [{}, {"instances": []}])
def test_a_host_that_serves_nothing_is_no_server(plan):
    assert of({"gpu-1": plan}, {"gpu-1": KNOWN}) == ({}, [])


def test_a_host_that_has_left_the_inventory_is_forgotten():
    assert list(of({"gpu-1": PLAN}, {"gone": KNOWN})[0]) == ["gpu-1"]


def test_a_host_of_which_nothing_is_known_is_refused():
    with pytest.raises(WishError) as caught:
        of({"gpu-1": PLAN}, hosts=("gpu-1", "gpu-2"))
    assert str(caught.value) == (
        "groups['tfserving']: gpu-2 cannot be reached, and this gateway has no record of it; "
        "run again when it can be, or take it out of the inventory"
    )
