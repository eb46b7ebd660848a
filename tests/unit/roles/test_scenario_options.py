# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every option of every role is set to something else than its default by a scenario that then serves."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY

ALTERNATIVE = "alternative"

HANDED_OVER = "roles hand it to each other; no inventory sets it"
UNIQUE = "there is but one value that works in the lab"
DRIVER = "changes a driver, which wants a GPU: the scenarios nvidia_driver*, and tests/unit/test_driver_*.py"
RUN = "says how a run goes over the fleet, before any host's own variables: test_fleet_hosts.py, test_run_lock.py"
WATCHED = "belongs to monitored fleets, which this scenario has not: scenario monitoring"
GATEWAY = "belongs to gateways, which this scenario has not: scenario gateway"
LOAD = "belongs to benchmark.yml, which the scenario does not run"
BUILDER = "belongs to builders of models, which this scenario has not: test_model_builder.py"
PEERS = "takes two hosts: scenario rollout, test_model_repository_peers.py"
ELSEWHERE = "excludes what this scenario is about"

# What the scenario `alternative` leaves to others, and where it is tried instead.
EXCEPTIONS = {
    "tfserving_plan": HANDED_OVER,
    "tfserving_previous_plan": HANDED_OVER,
    "tfserving_plan_secrets": HANDED_OVER,
    "tfserving_install_method": f"{ELSEWHERE}: scenarios runtime and offline",
    "tfserving_images": f"{ELSEWHERE}: scenario runtime",
    "tfserving_archives": f"{ELSEWHERE}: scenario runtime",
    "tfserving_registry_credentials": f"{ELSEWHERE}: scenario runtime",
    "tfserving_registry_mirrors": f"{ELSEWHERE}: scenario offline",
    "tfserving_fleet_bundle": f"{ELSEWHERE}: scenario offline",
    "tfserving_allocator": f"{ELSEWHERE}: scenario vm",
    "tfserving_version": f"{ELSEWHERE}: scenario changes",
    "tfserving_apt_suite": UNIQUE,
    "tfserving_apt_package": UNIQUE,
    "jemalloc_package": UNIQUE,
    "host_plan_share_input": "is set by tune.yml, which the scenario does not run",
    "host_plan_rollout": "is set by rollout.yml, which the scenario does not run: test_held_versions.py",
    "kernel_tuning_state": "takes the role back: scenario vm, undo.yml",
    "cpu_partition_state": "takes the role back: scenario vm, undo.yml",
    "cpu_partition_boot": "boots the host: scenario vm",
    "cpu_partition_reboot_ok": "boots the host: scenario vm_boots",
}


def options() -> dict[str, dict]:
    """Every option that a role documents for its main entry point."""
    found = {}
    for path in REPOSITORY.glob("roles/*/meta/argument_specs.yml"):
        found |= yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    return found


def set_by_the_scenario() -> dict:
    found = {}
    for path in (REPOSITORY / "molecule" / ALTERNATIVE / "group_vars").rglob("*.yml"):
        found |= yaml.safe_load(path.read_text())
    return found


def exception(name: str) -> str:
    reasons = {
        "nvidia_driver_": DRIVER,
        "fleet_": RUN,
        "load_generator_": LOAD,
        "model_builder_": BUILDER,
        "gateway_": GATEWAY,
        "monitoring_": WATCHED,
    }
    reasons |= {"model_repository_peer": PEERS, "model_repository_rack": PEERS}
    return next((reasons[start] for start in reasons if name.startswith(start)), EXCEPTIONS.get(name, ""))


@pytest.mark.parametrize("name", sorted(name for name in options() if not exception(name)))
def test_each_option_is_tried_with_another_value(name):
    given = set_by_the_scenario()
    assert name in given, f"set {name} in molecule/{ALTERNATIVE}/group_vars, or say in EXCEPTIONS why it cannot be"
    assert given[name] != options()[name].get("default"), f"{name} is set to its default"


def test_no_exception_outlives_its_option():
    assert EXCEPTIONS.keys() <= options().keys()


def test_what_is_left_to_another_scenario_is_set_there():
    texts = {path.name: _text(path) for path in (REPOSITORY / "molecule").iterdir() if path.is_dir()}
    missing = []
    for name, reason in EXCEPTIONS.items():
        places = [word.strip(",") for word in reason.partition("scenario")[2].split() if word.strip(",") in texts]
        missing += [(name, place) for place in places if name not in texts[place]]
    assert not missing


def _text(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".yml"))
