# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version is loaded only where the host's memory and the limits of its servers hold it beside the one in force."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils.models import headroom
from ansible_collections.tfserving.fleet.plugins.modules import model_headroom
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy
from ports import free_port
from serving_double import FakeServer, Model

MIB = 1 << 20
PAGES_A_MB = MIB // os.sysconf("SC_PAGE_SIZE")


class Host:
    """A host with two versions on its disk, of which its server has loaded the first."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.version(7, 100)
        self.version(8, 1000)
        self.memory(4096)
        self.server = Model({7: "AVAILABLE", 6: "END"})

    def version(self, version: int, mb: int) -> None:
        """Put a version on the disk whose files are that large, without taking the space."""
        folder = self.place / "models" / "ranker" / str(version) / "variables"
        folder.mkdir(parents=True)
        with (folder / "data").open("wb") as file:
            file.truncate(mb * MIB)
        records = folder.parent / warmup.FILE
        records.parent.mkdir()
        with records.open("wb") as file:
            file.truncate(900 * MIB)

    def memory(self, available_mb: int, used_mb: int = 800) -> None:
        """Say what the host has left, and what its server uses."""
        process = self.place / "proc" / "9"
        process.mkdir(parents=True, exist_ok=True)
        (process / "statm").write_text(f"99999 {used_mb * PAGES_A_MB} 5 1 0 9 0\n")
        (self.place / "proc" / "meminfo").write_text(f"MemAvailable:    {available_mb * 1024} kB\n")

    def check(self, versions: tuple[int, ...] = (7, 8), ports: int = 1, max_mb: Any = None, **keys: Any) -> Any:
        """Run the check of a plan that serves these versions."""
        with FakeServer(ranker=self.server) as server:
            instances = [
                {
                    "name": f"i{number}",
                    "models": ["ranker"],
                    "ports": {"rest": server.port if number == 0 else free_port(), "grpc": 1},
                    "memory": {"max_mb": max_mb},
                }
                for number in range(ports)
            ]
            path = "tfserving_models[0]"
            model = {"name": "ranker", "path": path, "serve": {"versions": list(versions)}, "memory_mb": None, **keys}
            plan = {"paths": {"models": str(self.place / "models")}, "models": [model], "instances": instances}
            pids = {"i0": 9}
            return model_headroom.checked(plan, "ranker", lambda name: pids.get(name, 0), str(self.place / "proc"))


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


def test_a_version_takes_what_its_files_take_and_a_fifth_more(host):
    assert host.check() == {"changed": False, "needs": {"i0": {"mb": 1200, "left_mb": None}}, "available_mb": 4096.0}
    assert policy.DEFAULTS["memory"]["model_factor"] == headroom.FACTOR


def test_a_larger_size_in_the_wish_counts(host):
    assert host.check(memory_mb=2000)["needs"]["i0"]["mb"] == 2400
    assert host.check(memory_mb=10)["needs"]["i0"]["mb"] == 1200


def test_what_is_loaded_takes_nothing_more(host):
    host.memory(available_mb=1)
    assert host.check((7,))["needs"] == {}
    host.server.versions[8] = "LOADING"
    assert host.check()["needs"] == {}


def test_a_version_that_is_not_on_disk_counts_by_the_wish_alone(host):
    assert host.check((7, 9))["needs"] == {}
    assert host.check((7, 9), memory_mb=100)["needs"]["i0"]["mb"] == 120


def test_a_version_that_the_host_has_no_memory_for_is_refused(host):
    host.memory(available_mb=1199)
    with pytest.raises(WishError) as refused:
        host.check()
    assert str(refused.value) == (
        "tfserving_models[0].version: 8 of ranker cannot be loaded beside what is in memory: it takes about 1200 MB"
        " (1.2 times its size), and this host has 1199 available; free memory on it, or move models or the instance to"
        " another host; nothing was loaded"
    )
    host.memory(available_mb=1200)
    host.check()


def test_a_version_beyond_the_limit_of_its_server_is_refused(host):
    with pytest.raises(WishError) as refused:
        host.check(max_mb=1999)
    assert str(refused.value) == (
        "tfserving_models[0].version: 8 of ranker cannot be loaded beside what is in memory: it takes about 1200 MB"
        " (1.2 times its size), of which the limit of instance i0 leaves 1199 (memory.max_mb is 1999); set"
        " tfserving_models[0].memory_mb to what a version takes, from which the limit follows, or serve fewer models"
        " there; nothing was loaded"
    )
    host.check(max_mb=2000)


def test_each_instance_that_serves_the_model_loads_it(host):
    host.memory(available_mb=2519)
    # The second server does not answer: it loads both versions once it starts.
    with pytest.raises(WishError, match="it takes about 2520 MB"):
        host.check(ports=2)
    host.memory(available_mb=2520)
    assert {name: need["mb"] for name, need in host.check(ports=2)["needs"].items()} == {"i0": 1200, "i1": 1320}


def test_a_lower_version_in_place_of_the_one_in_force_is_loaded_beside_it(host):
    host.server.versions = {8: "AVAILABLE"}
    assert host.check((7,))["needs"]["i0"]["mb"] == 120


def test_what_the_kernel_does_not_tell_refuses_nothing(host):
    (host.place / "proc" / "meminfo").write_text("")
    assert host.check()["available_mb"] is None


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({}, "plan: is not the plan of a host; give what the role host_plan has made"),
        (
            {"paths": {"models": "/m"}, "models": [], "instances": []},
            "model: is 'ranker', which the plan does not have; name a model of the plan",
        ),
        (
            {
                "paths": {"models": "/m"},
                "models": [{"name": "ranker", "path": "p", "serve": {"latest": 1}}],
                "instances": [],
            },
            "model: is 'ranker', whose versions are not served by number; name another model",
        ),
    ],
)
def test_what_is_no_plan_of_the_model_is_refused(plan, sentence):
    with pytest.raises(WishError) as refused:
        model_headroom.checked(plan, "ranker", lambda _name: 0, "/proc")
    assert str(refused.value) == sentence
