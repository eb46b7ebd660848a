# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How much of the host each service of the collection could touch, by systemd's own reckoning (0 nothing, 100 all)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from planner_cases import ARCHIVE, IMAGE
from unit_cases import ROLES, VARIABLES, services

# The most that each may come to. Whoever needs more says here why.
BOUNDS = {
    "tfserving@ranker.service": 17,
    "tfserving-health@ranker.service": 11,
    "tfserving-addresses.service": 13,
    # Listens, for those addresses that may.
    "tfserving-gate.service": 12,
    # Runs as root, looks into the processes of the servers, and asks the driver of the GPUs.
    "tfserving-collector.service": 25,
    "tfserving-cache.service": 10,
    "tfserving-store.service": 10,
    "tfserving-monitoring-exporters.service": 13,
    "tfserving-monitoring-pages.service": 13,
    "tfserving-fleet-kernel.service": 15,
    "tfserving-fleet-interrupts.service": 15,
    # Loads a module, creates device nodes and asks the driver for what is an administrator's.
    "tfserving-fleet-gpu.service": 35,
}
CASES = {
    "systemd": {},
    "nftables": {"tfserving_address_rules": "nftables"},
    "tls": {"policy": {"tls": True}, "__tfserving_tls": True},
    "gpu-image": {"wish": {"gpus": 1}, "policy": IMAGE},
    "gpu-archive": {"wish": {"gpus": 1}, "policy": ARCHIVE},
}

analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")


def test_every_service_of_the_collection_has_a_bound():
    assert set(services()) == set(BOUNDS)
    # A service that is laid down in another form than a template would escape this file.
    assert not [path for path in ROLES.rglob("*.service*") if path.suffix != ".j2" and path.is_file()]


@analyze
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", BOUNDS)
def test_no_service_is_wider_open_than_it_needs_to_be(tmp_path, case, name):
    path = tmp_path / name
    path.write_text(services(**CASES[case])[name])
    assert exposure_of(path) <= BOUNDS[name]


def exposure_of(path):
    """Return what systemd says of a unit."""
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", judged.stdout)
    assert exposure, judged.stderr
    return 10 * float(exposure[1])


@analyze
@pytest.mark.parametrize(
    "store", [{"is_local": True, "port": 0}, {"is_local": False, "port": 1, "address": "10.0.0.9"}]
)
def test_nginx_as_the_cache_is_no_wider_open(tmp_path, store):
    plan = VARIABLES["__gateway_plan"]
    cache = {**plan["cache"], "engine": "nginx", "store": {"has_password": True, **store}}
    path = tmp_path / "tfserving-cache.service"
    path.write_text(services(__gateway_plan={"cache": cache})[path.name])
    # Lua's compiler writes what it executes, and a store elsewhere takes a network.
    assert exposure_of(path) <= (17 if store["port"] else 11)


@analyze
@pytest.mark.parametrize("case", CASES)
def test_systemd_has_nothing_to_object_to(tmp_path, case):
    texts = services(**CASES[case])
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in texts)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    objections = [line for line in judged.stderr.splitlines() if any(str(name) in line for name in texts)]
    # What it starts is on the hosts, and not on the machine that runs this.
    assert not [line for line in objections if "is not executable: No such file" not in line], judged.stderr
